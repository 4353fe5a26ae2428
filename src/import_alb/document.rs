//! Which kind of document this is, and the listeners in it.

use serde_json::Value;

use super::{
    alb::Listener,
    aws,
    node::{DocumentError, Node},
    terraform,
};

/// The error for a document of an unknown kind.
const KINDS: &str = "is not a document that this command reads: a jwt-validation action or a list of \
                     actions, the JSON of `aws elbv2 describe-rules` or `aws elbv2 \
                     describe-listeners`, or of `terraform show -json`";

/// Reads the text of a document.
///
/// # Errors
/// The text is not JSON, of an unknown kind, or lacks what every document of its
/// kind has; the error says where.
pub(super) fn read(text: &str) -> Result<Vec<Listener>, DocumentError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(DocumentError::whole("is empty"));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| DocumentError::whole(format!("is not valid JSON: {error}")))?;
    listeners(&Node::root(&value))
}

fn listeners(root: &Node<'_>) -> Result<Vec<Listener>, DocumentError> {
    if root.get("lineage").is_some() {
        return Err(
            root.error("is a Terraform state file; import what `terraform show -json` prints")
        );
    }
    if root.any(&["values", "planned_values"]).is_some() || root.get("terraform_version").is_some()
    {
        return terraform::listeners(root);
    }
    if root.any(&["Rules", "Listeners"]).is_some() {
        return aws::described(root);
    }
    if root.is_list() {
        return aws::listed(root, KINDS);
    }
    let is_action = root.is_object()
        && root
            .any(&[
                "Type",
                "JwtValidationConfig",
                "JwksEndpoint",
                "Issuer",
                "Actions",
                "DefaultActions",
            ])
            .is_some();
    if is_action { aws::lone(root) } else { Err(root.error(KINDS)) }
}
