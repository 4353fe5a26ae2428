//! An explanation as people read it: the verdict, the way to it, and what
//! either side gets.

use std::fmt::{self, Display, Formatter};

use super::{AskedProvider, Client, Explanation, FoundToken, RouteTaken, Scopes, Upstream};
use crate::text::visible;

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ({})", self.decision, self.reason, self.description)?;
        if let Some(detail) = &self.detail {
            writeln!(f, "why: {}", visible(detail))?;
        }
        if let Some(next) = &self.next {
            writeln!(f, "next: {}", visible(&next.step))?;
            writeln!(f, "see: {}", next.see)?;
        }
        if let Some(later) = &self.without_time_limit {
            let (limit, decision, reason) = (later.check_timeout_ms, later.decision, later.reason);
            writeln!(
                f,
                "the time was up after {limit} ms (server.check_timeout_ms); with more of it: \
                 {decision}, {reason}"
            )?;
        }
        writeln!(f)?;
        let facts = &self.request;
        let [method, path, host] = [&facts.method, &facts.path, &facts.host].map(|it| visible(it));
        writeln!(f, "request: {method} {path} on {host}, at {}", self.at)?;
        if let Some(sentence) = &self.decided_early {
            writeln!(f, "decided before routing: {sentence}")?;
        }
        if let Some(route) = &self.route {
            route.fmt(f)?;
        }
        if let Some(token) = &self.token {
            token.fmt(f)?;
        }
        for provider in &self.providers {
            provider.fmt(f)?;
        }
        if let Some(scopes) = &self.scopes {
            scopes.fmt(f)?;
        }
        for sentence in &self.policy {
            writeln!(f, "policy: {}", visible(sentence))?;
        }
        if let Some(upstream) = &self.upstream {
            upstream.fmt(f)?;
        }
        if let Some(client) = &self.client {
            client.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for RouteTaken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let public = if self.public { ", which is public" } else { "" };
        match &self.name {
            Some(name) => writeln!(f, "route: {name} ({}){public}", self.how),
            None => writeln!(f, "route: none, {}", self.how),
        }
    }
}

impl Display for FoundToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.found_in.as_slice() {
            [] => writeln!(f, "token: {}", self.summary)?,
            places => writeln!(f, "token: found in {}: {}", places.join(" and "), self.summary)?,
        }
        if !self.is_usable() {
            for source in &self.sources {
                writeln!(f, "  {}: {}", source.source, source.seen)?;
            }
        }
        Ok(())
    }
}

impl Display for AskedProvider {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let answer = match (self.answer, self.reason) {
            ("not_asked", _) => "not asked".into(),
            (answer, Some(reason)) => format!("{answer}, {reason}"),
            (answer, None) => answer.to_owned(),
        };
        writeln!(f, "provider {}: {answer}", self.name)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "  {}", visible(note)))
    }
}

impl Display for Scopes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => visible(&names.join(" ")).into_owned(),
        };
        writeln!(f, "scopes wanted: {}", list(&self.wanted))?;
        let Some(granted) = &self.granted else { return Ok(()) };
        writeln!(f, "scopes granted: {}", list(granted))?;
        match self.missing.as_slice() {
            [] => Ok(()),
            missing => writeln!(f, "scopes missing: {}", missing.join(" ")),
        }
    }
}

impl Display for Upstream {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nthe upstream gets:")?;
        for (name, value) in self.set.shown() {
            writeln!(f, "  {name}: {}", visible(value))?;
        }
        for name in &self.remove {
            writeln!(f, "  {}: (removed)", visible(name))?;
        }
        for name in &self.remove_query {
            writeln!(f, "  query parameter {}: (removed)", visible(name))?;
        }
        Ok(())
    }
}

impl Display for Client {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nthe client gets:")?;
        writeln!(f, "  HTTP {}", self.status)?;
        for (name, value) in self.headers.shown() {
            writeln!(f, "  {name}: {}", visible(value))?;
        }
        writeln!(f, "  {}", self.body)
    }
}
