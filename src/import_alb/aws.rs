//! The JSON that the AWS CLI prints and takes.
//!
//! Shapes as in the Elastic Load Balancing API reference, version 2015-12-01:
//! `Listener`, `Rule`, `RuleCondition`, `Action`, `JwtValidationActionConfig`.

use super::{
    alb::{
        Action, Claim, ClaimFormat, Condition, Field, Listener, Rule, UNNAMED, Validation, short,
    },
    node::{DocumentError, Node},
};

/// `describe-rules`, `describe-listeners`, or both in one object.
pub(super) fn described(root: &Node<'_>) -> Result<Vec<Listener>, DocumentError> {
    let lists = [root.get("Listeners"), root.get("Rules")];
    let [listeners, rules] = lists.map(|list| list.map(|list| list.items()).transpose());
    let (listeners, rules) = (listeners?.unwrap_or_default(), rules?.unwrap_or_default());
    if listeners.is_empty() && rules.is_empty() {
        return Err(root.error("lists no rule and no listener"));
    }
    let mut ruled = of_rules(&rules)?;
    let mut all = Vec::new();
    for node in &listeners {
        let mut listener = listener(node)?;
        let own = |ruled: &Listener| ruled.ids.iter().any(|id| listener.ids.contains(id));
        if let Some(at) = ruled.iter().position(own) {
            let mut rules = ruled.remove(at).rules;
            if rules.last().is_none_or(|last| last.priority.is_some()) {
                rules.append(&mut listener.rules);
            }
            listener = Listener { rules, shows_rules: true, ..listener };
        }
        all.push(listener);
    }
    all.append(&mut ruled);
    // Those of network load balancers see no HTTP.
    let is_http = |protocol: &String| matches!(protocol.as_str(), "HTTP" | "HTTPS");
    all.retain(|listener| listener.protocol.as_ref().is_none_or(is_http));
    if all.is_empty() {
        return Err(root.error("has no HTTP or HTTPS listener"));
    }
    Ok(all)
}

/// A list: of actions, of rules or of listeners.
pub(super) fn listed(root: &Node<'_>, kinds: &str) -> Result<Vec<Listener>, DocumentError> {
    let items = root.items()?;
    let Some(first) = items.first() else { return Err(root.error("is an empty list")) };
    if first.any(&["Actions", "Conditions", "RuleArn"]).is_some() {
        return of_rules(&items);
    }
    if first.any(&["DefaultActions", "ListenerArn"]).is_some() {
        return items.iter().map(listener).collect();
    }
    if first.any(&["Type", "JwtValidationConfig"]).is_some() {
        return Ok(vec![of_actions(actions(root)?)]);
    }
    Err(root.error(kinds))
}

/// One action, its configuration alone, or an object with a list of actions:
/// the input of `create-rule` and `create-listener`.
pub(super) fn lone(root: &Node<'_>) -> Result<Vec<Listener>, DocumentError> {
    if root.get("DefaultActions").is_some() {
        return Ok(vec![listener(root)?]);
    }
    if root.get("Actions").is_some() {
        return of_rules(std::slice::from_ref(root));
    }
    let action = match root.any(&["Type", "JwtValidationConfig"]) {
        Some(_) => action(root)?,
        None => Action::Validate(validation(root)?),
    };
    Ok(vec![of_actions(vec![action])])
}

/// A listener that does nothing but these.
fn of_actions(actions: Vec<Action>) -> Listener {
    let rule = Rule { priority: None, conditions: Vec::new(), actions, transforms: Vec::new() };
    Listener { rules: vec![rule], ..Listener::of_rules(Vec::new()) }
}

fn listener(node: &Node<'_>) -> Result<Listener, DocumentError> {
    let text = |name: &str| node.get(name).map(|node| node.text()).transpose();
    let arn = text("ListenerArn")?.map(String::from);
    let protocol = text("Protocol")?.map(String::from);
    let port = node.get("Port").map(|port| port.number()).transpose()?;
    let list = node.need(&["DefaultActions"], "which every listener has")?;
    let default = Rule {
        priority: None,
        conditions: Vec::new(),
        actions: actions(&list)?,
        transforms: Vec::new(),
    };
    Ok(Listener {
        label: match (&protocol, port, &arn) {
            (Some(protocol), Some(port), _) => format!("{protocol}:{port}"),
            (_, _, Some(arn)) => short(arn).into(),
            _ => UNNAMED.into(),
        },
        ids: arn.into_iter().collect(),
        port,
        protocol,
        tls_policy: text("SslPolicy")?.map(String::from),
        rules: vec![default],
        shows_rules: false,
    })
}

/// Rules, by the listener that their ARNs name.
fn of_rules(nodes: &[Node<'_>]) -> Result<Vec<Listener>, DocumentError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for node in nodes {
        let (arn, rule) = rule(node)?;
        let ids: Vec<_> = arn.into_iter().collect();
        let at = listeners.iter().position(|listener| listener.ids == ids);
        let at = at.unwrap_or_else(|| {
            listeners.push(Listener::of_rules(ids));
            listeners.len() - 1
        });
        if let Some(listener) = listeners.get_mut(at) {
            insert(&mut listener.rules, rule, node)?;
        }
    }
    Ok(listeners)
}

/// Puts a rule in its place; the default action is the last.
pub(super) fn insert(
    rules: &mut Vec<Rule>,
    rule: Rule,
    node: &Node<'_>,
) -> Result<(), DocumentError> {
    let key = |rule: &Rule| rule.priority.unwrap_or(u64::MAX);
    match rules.binary_search_by_key(&key(&rule), key) {
        Ok(_) => {
            let label = rule.label();
            Err(node
                .error(format!("is {label}, which its listener has already; priorities differ")))
        }
        Err(at) => {
            rules.insert(at, rule);
            Ok(())
        }
    }
}

/// A rule, and the ARN of its listener.
fn rule(node: &Node<'_>) -> Result<(Option<String>, Rule), DocumentError> {
    let listener = match node.get("ListenerArn") {
        Some(arn) => Some(arn.text()?.to_owned()),
        None => node.get("RuleArn").map(|arn| arn.text().map(listener_of)).transpose()?.flatten(),
    };
    let is_default = node.get("IsDefault").is_some_and(|flag| flag.is_true());
    let priority = match node.get("Priority") {
        Some(priority) if priority.text() == Ok("default") => None,
        Some(priority) => Some(priority.number().map_err(|_| {
            priority.error("must be a number, or \"default\" for the default action")
        })?),
        None if is_default => None,
        None => {
            return Err(node.error("has no Priority, which decides the order of rules"));
        }
    };
    if is_default && priority.is_some() {
        return Err(node.error("is the default action and has a priority, which contradict"));
    }
    let conditions = node.all(&["Conditions"])?;
    let conditions: Vec<_> = conditions.iter().map(condition).collect::<Result<_, _>>()?;
    if priority.is_none() && !conditions.is_empty() {
        return Err(node.error("is the default action and has conditions, which contradict"));
    }
    let transforms = node.all(&["Transforms"])?;
    let transforms =
        transforms.iter().map(|one| Ok(one.need(&["Type"], "its kind")?.text()?.into()));
    let list = node.need(&["Actions"], "which every rule has")?;
    let rule = Rule {
        priority,
        conditions,
        actions: actions(&list)?,
        transforms: transforms.collect::<Result<_, DocumentError>>()?,
    };
    Ok((listener, rule))
}

/// `…:listener-rule/app/NAME/LB/LISTENER/RULE` belongs to
/// `…:listener/app/NAME/LB/LISTENER`.
fn listener_of(rule: &str) -> Option<String> {
    let (listener, _) = rule.rsplit_once('/')?;
    listener.contains(":listener-rule/").then(|| listener.replace(":listener-rule/", ":listener/"))
}

fn condition(node: &Node<'_>) -> Result<Condition, DocumentError> {
    let name = node.need(&["Field"], "which says what is compared")?.text()?;
    let (field, config) = match name {
        "path-pattern" => (Field::Path, node.get("PathPatternConfig")),
        "host-header" => (Field::Host, node.get("HostHeaderConfig")),
        "http-request-method" => (Field::Method, node.get("HttpRequestMethodConfig")),
        "source-ip" => (Field::SourceIp, node.get("SourceIpConfig")),
        "http-header" => {
            let config = node.need(&["HttpHeaderConfig"], "which names the header")?;
            let header = config.need(&["HttpHeaderName"], "the header to compare")?.text()?;
            return Ok(Condition {
                field: Field::Header(header.into()),
                values: Vec::new(),
                regexes: Vec::new(),
            });
        }
        "query-string" => {
            let config = node.need(&["QueryStringConfig"], "which names the parameters")?;
            return query(&config.all(&["Values"])?, "Key");
        }
        other => {
            return Ok(Condition {
                field: Field::Unknown(other.into()),
                values: Vec::new(),
                regexes: Vec::new(),
            });
        }
    };
    // Older documents have a path's or host's values beside the field, newer
    // ones in both places.
    let mut values = node.texts_of("Values")?;
    let mut regexes = node.texts_of("RegexValues")?;
    if let Some(config) = config {
        let add = |all: &mut Vec<String>, more: Vec<String>| {
            more.into_iter().for_each(|value| {
                if !all.contains(&value) {
                    all.push(value)
                }
            });
        };
        add(&mut values, config.texts_of("Values")?);
        add(&mut regexes, config.texts_of("RegexValues")?);
    }
    if values.is_empty() && regexes.is_empty() {
        return Err(node.error("has no values to compare with"));
    }
    Ok(Condition { field, values, regexes })
}

/// A condition on query parameters; only their names are read.
pub(super) fn query(pairs: &[Node<'_>], key: &str) -> Result<Condition, DocumentError> {
    let names =
        pairs.iter().filter_map(|pair| pair.get(key)).map(|key| key.text().map(String::from));
    let field = Field::Query(names.collect::<Result<_, _>>()?);
    Ok(Condition { field, values: Vec::new(), regexes: Vec::new() })
}

fn actions(list: &Node<'_>) -> Result<Vec<Action>, DocumentError> {
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.error("lists no action"));
    }
    items.iter().map(action).collect()
}

fn action(node: &Node<'_>) -> Result<Action, DocumentError> {
    let kind = match node.get("Type") {
        Some(kind) => kind.text()?,
        None if node.get("JwtValidationConfig").is_some() => "jwt-validation",
        None => return Err(node.error("has no Type")),
    };
    let code = |config: &str| Some(node.get(config)?.get("StatusCode")?.text().ok()?.to_owned());
    Ok(match kind {
        "forward" => Action::Forward,
        // As the console calls it.
        "jwt-validation" | "validate-token" | "validate_token" => {
            Action::Validate(validation(&node.need(&["JwtValidationConfig"], "what to check")?)?)
        }
        "redirect" => Action::Answer(answer("redirect", code("RedirectConfig"))),
        "fixed-response" => Action::Answer(answer("fixed-response", code("FixedResponseConfig"))),
        "authenticate-cognito" | "authenticate-oidc" => Action::Login(kind.into()),
        other => Action::Unknown(other.into()),
    })
}

/// How ALB answers a request itself; where to and with which words stays out.
pub(super) fn answer(kind: &str, code: Option<String>) -> String {
    code.map_or(kind.to_owned(), |code| format!("{kind} {code}"))
}

fn validation(node: &Node<'_>) -> Result<Validation, DocumentError> {
    let claims = node.all(&["AdditionalClaims"])?;
    checked(
        &node.need(&["Issuer"], "the wanted `iss`")?,
        &node.need(&["JwksEndpoint"], "the URL of the keys")?,
        claims.iter().map(|node| claim(node, ["Name", "Format", "Values"])),
    )
}

/// A token check of these parts.
pub(super) fn checked(
    issuer: &Node<'_>,
    jwks: &Node<'_>,
    claims: impl Iterator<Item = Result<Claim, DocumentError>>,
) -> Result<Validation, DocumentError> {
    Ok(Validation {
        issuer: issuer.text()?.into(),
        jwks: jwks.text()?.into(),
        claims: claims.collect::<Result<_, _>>()?,
    })
}

/// An additional claim; `keys` are those of its name, format and values.
pub(super) fn claim(node: &Node<'_>, keys: [&str; 3]) -> Result<Claim, DocumentError> {
    let [name, format, values] = keys;
    let name = node.need(&[name], "the claim to look at")?;
    let format = node.need(&[format], "how the token writes it")?;
    let values = node.need(&[values], "what it must be")?;
    if matches!(name.text()?, "iss" | "exp" | "nbf" | "iat") {
        return Err(name.error("is checked anyway, and ALB refuses it here"));
    }
    let claim = Claim {
        name: name.text()?.into(),
        format: match format.text()? {
            "single-string" => ClaimFormat::Single,
            "string-array" => ClaimFormat::Array,
            "space-separated-values" => ClaimFormat::Words,
            _ => {
                return Err(
                    format.error("must be single-string, string-array or space-separated-values")
                );
            }
        },
        values: values.texts()?,
    };
    match (claim.format, claim.values.as_slice()) {
        (_, []) => Err(values.error("lists no value")),
        (ClaimFormat::Single, [_, _, ..]) => {
            Err(values.error("lists several values, but a single-string has one"))
        }
        (ClaimFormat::Words, list) if list.iter().any(|value| value.contains(' ')) => {
            Err(values.error("has a space in a value, but spaces separate the values"))
        }
        _ => Ok(claim),
    }
}
