//! How a path is read: two readings, which must agree.
