//! The admin port: livez, readyz, metrics.
