//! Where the token is found.
