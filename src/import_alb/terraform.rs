//! The JSON of `terraform show -json`, of a state or of a plan.
//!
//! The format is Terraform's "JSON output format"; the resources are
//! `aws_lb_listener` and `aws_lb_listener_rule` of the AWS provider, and
//! their older names `aws_alb_listener` and `aws_alb_listener_rule`.

use super::{
    alb::{Action, Condition, Field, Listener, Rule},
    aws::{answer, checked, claim, insert, query},
    node::{DocumentError, Node},
};

const LISTENERS: [&str; 2] = ["aws_lb_listener", "aws_alb_listener"];
const RULES: [&str; 2] = ["aws_lb_listener_rule", "aws_alb_listener_rule"];

/// A rule that is not yet assigned to its listener.
struct UnassignedRule<'v> {
    node: Node<'v>,
    address: String,
    listener_arn: Option<String>,
    rule: Rule,
    has_priority: bool,
}

/// The listeners of a state or plan with their rules.
pub(super) fn listeners(root: &Node<'_>) -> Result<Vec<Listener>, DocumentError> {
    // A plan has both; what is planned is what will be.
    let module = root
        .any(&["planned_values", "values"])
        .and_then(|values| values.get("root_module"))
        .ok_or_else(|| root.error("has no resources; is anything applied or planned?"))?;
    let mut resources = Vec::new();
    collect(&module, &mut resources)?;
    let mut listeners = Vec::new();
    let mut rules = Vec::new();
    for resource in &resources {
        let kind = resource.need(&["type"], "the kind of resource")?.text()?;
        let is_managed = resource.get("mode").is_none_or(|mode| mode.text() == Ok("managed"));
        if is_managed && LISTENERS.contains(&kind) {
            listeners.extend(listener(resource)?);
        } else if is_managed && RULES.contains(&kind) {
            rules.push(unassigned_rule(resource)?);
        }
    }
    if listeners.is_empty() && rules.is_empty() {
        return Err(root.error("has no aws_lb_listener and no aws_lb_listener_rule"));
    }
    for rule in rules {
        place(rule, &mut listeners, root)?;
    }
    Ok(listeners)
}

/// The resources of a module and of those below it.
fn collect<'v>(module: &Node<'v>, all: &mut Vec<Node<'v>>) -> Result<(), DocumentError> {
    all.extend(module.all(&["resources"])?);
    for child in module.all(&["child_modules"])? {
        collect(&child, all)?;
    }
    Ok(())
}

/// A listener, unless it is one of a network load balancer.
fn listener(resource: &Node<'_>) -> Result<Option<Listener>, DocumentError> {
    let values = resource.need(&["values"], "what it is set up as")?;
    let address = resource.need(&["address"], "its place in the configuration")?.text()?;
    let text = |name: &str| {
        values.get(name).map(|node| node.text()).transpose().map(|text| text.map(String::from))
    };
    let protocol = match values.get("protocol").map(|node| node.text()) {
        Some(Ok(protocol)) => Some(protocol.to_owned()),
        // Terraform writes an empty one for a gateway load balancer.
        _ => None,
    };
    if protocol.as_deref().is_some_and(|name| !matches!(name, "HTTP" | "HTTPS")) {
        return Ok(None);
    }
    let port = values.get("port").map(|port| port.number()).transpose()?;
    let blocks = values.need(&["default_action"], "which every listener has")?;
    let default = Rule {
        priority: None,
        conditions: Vec::new(),
        actions: actions(&blocks)?,
        transforms: Vec::new(),
    };
    let arn = text("arn")?;
    let ids = arn.into_iter().chain([address.to_owned()]).collect();
    Ok(Some(Listener {
        label: address.into(),
        ids,
        port,
        protocol,
        tls_policy: text("ssl_policy").unwrap_or_default(),
        rules: vec![default],
        shows_rules: true,
    }))
}

fn unassigned_rule<'v>(resource: &Node<'v>) -> Result<UnassignedRule<'v>, DocumentError> {
    let values = resource.need(&["values"], "what it is set up as")?;
    let address = resource.need(&["address"], "its place in the configuration")?.text()?.to_owned();
    let listener_arn = values.get("listener_arn").map(|arn| arn.text().map(String::from));
    let priority = values.get("priority").map(|priority| priority.number()).transpose()?;
    let conditions = values.all(&["condition"])?;
    let conditions: Vec<Vec<_>> = conditions.iter().map(condition).collect::<Result<_, _>>()?;
    let transforms = values.all(&["transform"])?;
    let transforms =
        transforms.iter().map(|one| Ok(one.need(&["type"], "its kind")?.text()?.into()));
    let blocks = values.need(&["action"], "which every rule has")?;
    let rule = Rule {
        // Terraform gives a rule without one the next free number.
        priority: Some(priority.unwrap_or(u64::MAX - 1)),
        conditions: conditions.into_iter().flatten().collect(),
        actions: actions(&blocks)?,
        transforms: transforms.collect::<Result<_, DocumentError>>()?,
    };
    Ok(UnassignedRule {
        node: resource.clone(),
        address,
        listener_arn: listener_arn.transpose()?,
        rule,
        has_priority: priority.is_some(),
    })
}

/// Adds a rule to its listener.
fn place(
    rule: UnassignedRule<'_>,
    listeners: &mut Vec<Listener>,
    root: &Node<'_>,
) -> Result<(), DocumentError> {
    let UnassignedRule { node, address, listener_arn, rule, has_priority } = rule;
    let at = match &listener_arn {
        Some(arn) => listeners.iter().position(|listener| listener.ids.contains(arn)),
        // In a plan, the ARN of a listener that is still to be made is not
        // known; the configuration says whose it will be.
        None => match planned_listener(root, &address, listeners) {
            Some(at) => Some(at),
            None if listeners.len() == 1 => Some(0),
            None => {
                return Err(node.error(format!(
                    "({address}) belongs to a listener that this plan does not know yet; apply it \
                     and import the state"
                )));
            }
        },
    };
    let at = at.unwrap_or_else(|| {
        listeners.push(Listener::of_rules(listener_arn.into_iter().collect()));
        listeners.len() - 1
    });
    let Some(listener) = listeners.get_mut(at) else { return Ok(()) };
    insert(&mut listener.rules, rule, &node).map_err(|error| match has_priority {
        true => error,
        false => node.error(format!(
            "({address}) has no priority, like another rule of its listener, so their order is \
             not known; write priorities"
        )),
    })
}

/// The listener that the configuration of the rule at `address` refers to.
fn planned_listener(root: &Node<'_>, address: &str, listeners: &[Listener]) -> Option<usize> {
    let address = without_keys(address);
    let (modules, _) = split_modules(&address);
    let mut module = root.get("configuration")?.get("root_module")?;
    for name in modules.split('.').filter(|name| !matches!(*name, "" | "module")) {
        module = module.get("module_calls")?.get(name)?.get("module")?;
    }
    let resources = module.all(&["resources"]).ok()?;
    let is_it = |resource: &&Node<'_>| {
        let own = resource.get("address").and_then(|own| own.text().ok().map(String::from));
        own.is_some_and(|own| format!("{modules}{own}") == address)
    };
    let expression = resources.iter().find(is_it)?.get("expressions")?.get("listener_arn")?;
    let references = expression.get("references")?.texts().ok()?;
    let named: Vec<_> = references.iter().map(|name| format!("{modules}{name}")).collect();
    let mut found = listeners.iter().enumerate().filter(|(_, listener)| {
        listener
            .ids
            .iter()
            .any(|id| named.iter().any(|name| without_keys(name) == without_keys(id)))
    });
    let (at, _) = found.next()?;
    found.next().is_none().then_some(at)
}

/// `module.a.module.b.aws_lb_listener.x` to its modules and the rest.
fn split_modules(address: &str) -> (&str, &str) {
    let kinds = LISTENERS.iter().chain(&RULES);
    let at = kinds.filter_map(|kind| address.find(&format!("{kind}."))).min().unwrap_or(0);
    address.split_at(at)
}

/// An address without the keys of `count` and `for_each`.
fn without_keys(address: &str) -> String {
    let mut depth = 0_usize;
    let mut plain = String::new();
    for char in address.chars() {
        match char {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(char),
            _ => {}
        }
    }
    plain
}

/// The conditions of a block, which has one kind as a rule.
fn condition(node: &Node<'_>) -> Result<Vec<Condition>, DocumentError> {
    let kinds = [
        ("path_pattern", Field::Path),
        ("host_header", Field::Host),
        ("http_request_method", Field::Method),
        ("source_ip", Field::SourceIp),
    ];
    let mut conditions = Vec::new();
    for (name, field) in kinds {
        for block in node.all(&[name])? {
            let (values, regexes) = (block.texts_of("values")?, block.texts_of("regex_values")?);
            if values.is_empty() && regexes.is_empty() {
                return Err(block.error("has no values to compare with"));
            }
            conditions.push(Condition { field: field.clone(), values, regexes });
        }
    }
    for block in node.all(&["http_header"])? {
        let header = block.need(&["http_header_name"], "the header to compare")?.text()?;
        let field = Field::Header(header.into());
        conditions.push(Condition { field, values: Vec::new(), regexes: Vec::new() });
    }
    let pairs = node.all(&["query_string"])?;
    if !pairs.is_empty() {
        conditions.push(query(&pairs, "key")?);
    }
    if conditions.is_empty() {
        let field = Field::Unknown("something that this command does not know".into());
        conditions.push(Condition { field, values: Vec::new(), regexes: Vec::new() });
    }
    Ok(conditions)
}

fn actions(blocks: &Node<'_>) -> Result<Vec<Action>, DocumentError> {
    let actions = blocks.blocks()?;
    if actions.is_empty() {
        return Err(blocks.error("lists no action"));
    }
    actions.iter().map(action).collect()
}

/// The names of a token check, as type and as block.
const CHECKS: [&str; 4] = ["jwt_validation", "validate_token", "jwt-validation", "validate-token"];

fn action(node: &Node<'_>) -> Result<Action, DocumentError> {
    let block = |names: &[&str]| {
        let blocks = node.all(names)?;
        Ok::<_, DocumentError>(blocks.into_iter().next())
    };
    let check = block(&CHECKS)?;
    let kind = match node.get("type") {
        Some(kind) => kind.text()?,
        None if check.is_some() => "jwt-validation",
        None => return Err(node.error("has no type")),
    };
    let code = |block: Option<Node<'_>>| {
        block.and_then(|block| block.get("status_code")?.text().ok().map(String::from))
    };
    Ok(match kind {
        "forward" => Action::Forward,
        kind if CHECKS.contains(&kind) => {
            let check =
                check.ok_or_else(|| node.error("has no jwt_validation block, what to check"))?;
            let claims = check.all(&["additional_claim", "additional_claims"])?;
            Action::Validate(checked(
                &check.need(&["issuer"], "the wanted `iss`")?,
                &check.need(&["jwks_endpoint"], "the URL of the keys")?,
                claims.iter().map(|node| claim(node, ["name", "format", "values"])),
            )?)
        }
        "redirect" => Action::Answer(answer("redirect", code(block(&["redirect"])?))),
        "fixed-response" => {
            Action::Answer(answer("fixed-response", code(block(&["fixed_response"])?)))
        }
        "authenticate-cognito" | "authenticate-oidc" => Action::Login(kind.into()),
        other => Action::Unknown(other.into()),
    })
}
