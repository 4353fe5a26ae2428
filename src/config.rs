//! The config file: YAML to validated settings.
