//! The ordered chain of providers.
