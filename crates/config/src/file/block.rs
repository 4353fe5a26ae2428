//! The macro for the mappings of the file.

/// Derives what each mapping of the file needs.
macro_rules! block {
    ($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Default, ::deserr::Deserr, ::schemars::JsonSchema)]
        #[deserr(error = crate::problems::Problems, deny_unknown_fields)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_meta])* #[deserr(default)] pub(crate) $field: $type,)*
        }
    };
}
pub(super) use block;
