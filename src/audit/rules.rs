//! The rules.

use std::sync::Arc;

use http::Method;

use super::finding::Finding;
use super::rule::Rule;
use crate::declare::{DeclaredStep, Kind, Resource, Scheme, Subject};
use crate::route::RouteHandler;

/// A handler with its path.
pub(super) struct Operation<'a> {
    pub(super) path: Option<&'a str>,
    pub(super) handler: &'a RouteHandler,
}

impl Operation<'_> {
    /// The steps in front of the handler that do something for its method.
    fn steps(&self) -> Vec<&Arc<DeclaredStep>> {
        let method = self.handler.method();
        let steps = self.handler.middleware().iter();
        steps.filter(|step| step.declaration().applies_to(method)).collect()
    }

    /// Whether the handler answers a method that may change something (RFC 9110, 9.2.1).
    fn writes(&self) -> bool {
        let is_safe = |method: &Method| {
            matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY")
        };
        !self.handler.method().is_some_and(is_safe)
    }

    fn name(&self) -> String {
        let method = self.handler.method().map_or("ALL", Method::as_str);
        format!("{method} {}", self.path.unwrap_or("(any path)"))
    }
}

/// All findings, in the order of the steps.
pub(super) fn find(operations: &[Operation<'_>]) -> Vec<Finding> {
    let mut findings = Findings::default();
    for operation in operations {
        let steps = operation.steps();
        for (at, step) in steps.iter().enumerate() {
            let around = Around { step, before: &steps[..at], after: &steps[at + 1..] };
            around.check(operation, &mut findings);
        }
        open_write(operation, &steps, &mut findings);
        unknown_rules(operation, &steps, &mut findings);
    }
    shared(operations, &mut findings);
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding, unless it is allowed. A step that breaks a rule on several routes is one finding.
    fn add(
        &mut self,
        rule: Rule,
        step: &Arc<DeclaredStep>,
        other: Option<&Arc<DeclaredStep>>,
        operation: &Operation<'_>,
        detail: impl Into<String>,
    ) {
        let allows = |(name, reason): &(&str, &str)| *name == rule.name() && is_reason(reason);
        if step.allowed().iter().any(allows) {
            return;
        }
        let route = operation.name();
        let same =
            |finding: &&mut Finding| finding.rule == rule && Arc::ptr_eq(&finding.step, step);
        match self.0.iter_mut().find(same) {
            Some(known) if known.routes.contains(&route) => {}
            Some(known) => known.routes.push(route),
            None => self.0.push(Finding {
                rule,
                step: step.clone(),
                other: other.map(|step| (*step).clone()),
                detail: detail.into(),
                routes: vec![route],
            }),
        }
    }
}

/// A step, with those that run before and after it.
struct Around<'a> {
    step: &'a Arc<DeclaredStep>,
    before: &'a [&'a Arc<DeclaredStep>],
    after: &'a [&'a Arc<DeclaredStep>],
}

impl Around<'_> {
    fn check(&self, operation: &Operation<'_>, findings: &mut Findings) {
        let Self { step, before, after } = self;
        let mut add = |rule, other: Option<&&Arc<DeclaredStep>>, detail: &str| {
            findings.add(rule, step, other.copied(), operation, detail);
        };
        let refusing = before.iter().find(|other| refuses(other));
        let is_body_bounded = before.iter().any(|other| has(other, &Kind::LimitsBody));
        // An earlier step of this kind that runs for all requests makes the place of this one harmless.
        let is_done = |kind: &Kind| {
            let mut earlier = before.iter().take_while(|other| !refuses(other));
            earlier.any(|other| {
                other.verb() == "always" && has(other, kind) && !other.declaration().conditional()
            })
        };
        for kind in step.declaration().kinds() {
            match kind {
                Kind::Authentication => {
                    let limit = after.iter().find(|other| is_limit(other));
                    if limit.is_some() && !before.iter().any(|other| bounds_attempts(other)) {
                        let detail = "checks credentials before any limit: a client can try them without bound";
                        add(Rule::AuthenticationBeforeLimit, limit, detail);
                    }
                }
                Kind::Limit(Subject::Unverified(name)) => {
                    let mut all = before.iter().chain(after.iter());
                    let bounded = bounds_attempts(step)
                        || all.any(|other| bounds_attempts(other))
                        || before.iter().any(|other| verifies(other, name));
                    if !bounded {
                        let detail = format!(
                            "limits by `{name}`, which no step has verified: a client can send another value with each request"
                        );
                        add(Rule::UnverifiedLimit, None, &detail);
                    }
                }
                Kind::Limit(Subject::ForwardedAddress) => {
                    let detail =
                        "limits by an address that any client can write into a header field";
                    add(Rule::ForwardedAddress, None, detail);
                }
                Kind::Penalty(subject) if !limits_by(step, subject) => {
                    let detail = "penalises another subject than the one that it limits";
                    add(Rule::PenaltyOfAnother, None, detail);
                }
                Kind::StoresResponses(subject) => {
                    let mut known = before.iter().chain(after.iter());
                    let late = after.iter().find(|other| distinguishes(other));
                    let (other, detail) = match subject {
                        Subject::Verified
                            if before
                                .iter()
                                .any(|other| distinguishes(other) || other.verb() == "guard") =>
                        {
                            continue;
                        }
                        Subject::Verified => {
                            (late, "comes before the step that knows the principals")
                        }
                        _ => (
                            known.find(|other| distinguishes(other)),
                            "does not distinguish the principals",
                        ),
                    };
                    if other.is_some() {
                        let detail = format!("answers with stored responses, and {detail}");
                        add(Rule::SharedResponses, other, &detail);
                    }
                }
                Kind::ReadsBody | Kind::ReplacesBody
                    if step.declaration().body_limit().is_none() && !is_body_bounded =>
                {
                    add(Rule::UnboundedBody, None, "reads the body without a bound");
                }
                Kind::UnlimitsBody => {
                    add(Rule::UnboundedBody, None, "removes the limit of the body");
                }
                Kind::Cors | Kind::Log | Kind::HardensResponses if is_done(kind) => {}
                Kind::Cors if step.verb() != "always" || refusing.is_some() => {
                    let detail = match refusing {
                        Some(_) => "comes after a step that refuses requests",
                        None => "does not run for preflight requests, which no handler matches",
                    };
                    add(Rule::RefusedPreflight, refusing, detail);
                }
                Kind::Log if step.verb() != "always" || refusing.is_some() => {
                    let detail = match refusing {
                        Some(_) => "records nothing of the requests that a step before it refuses",
                        None => "records nothing of the requests that no handler matches",
                    };
                    add(Rule::UnloggedRefusal, refusing, detail);
                }
                Kind::VerifiesBody => {
                    let changed = before.iter().find(|other| has(other, &Kind::ReplacesBody));
                    if changed.is_some() {
                        let detail =
                            "verifies a signature of a body that a step before it has changed";
                        add(Rule::SignatureOfChangedBody, changed, detail);
                    }
                }
                Kind::HardensResponses if step.verb() != "always" => {
                    let detail = "does not run for requests that no handler matches";
                    add(Rule::UnprotectedErrors, None, detail);
                }
                _ => {}
            }
        }
        if step.verb() == "always" && authenticates(step) {
            let detail = "also runs for requests that no handler matches";
            add(Rule::CheckOfUnmatched, None, detail);
        }
        let settings = step.declaration().settings();
        if settings.trusts_everyone {
            let detail = "trusts every address as a proxy: any client can choose its address";
            add(Rule::ForwardedAddress, None, detail);
        }
        if settings.max_body == Some(None) && !is_body_bounded {
            add(Rule::UnboundedBody, None, "lets extractors read a body of any size");
        }
        for cookie in cookies(step) {
            let checks = |other: &&Arc<DeclaredStep>| has(other, &Kind::ChecksOrigin);
            let checked = checks(step) || before.iter().any(checks) || after.iter().any(checks);
            if operation.writes() && !checked {
                let detail = format!(
                    "accepts {cookie} without a check of the origin: another site can send requests in the name of the user"
                );
                add(Rule::CookieWithoutOriginCheck, None, &detail);
            }
        }
        let limiters = step.declaration().used().iter();
        for limiter in limiters.filter(|used| matches!(used, Resource::Limiter(_))) {
            let twice = before.iter().find(|other| other.declaration().used().contains(limiter));
            if twice.is_some() {
                add(Rule::LimiterTwice, twice, "counts each request a second time");
            }
        }
    }
}

fn open_write(operation: &Operation<'_>, steps: &[&Arc<DeclaredStep>], findings: &mut Findings) {
    let step = operation.handler.shared_step();
    // The methods of a service are not known.
    if !operation.writes() || step.verb() == "service" || steps.iter().any(|step| checks(step)) {
        return;
    }
    let detail = "changes something, and no step before it checks who the client is";
    findings.add(Rule::OpenWrite, step, None, operation, detail);
}

/// Rules that are allowed, but don't exist, or without a reason.
fn unknown_rules(operation: &Operation<'_>, steps: &[&Arc<DeclaredStep>], findings: &mut Findings) {
    for step in steps.iter().copied().chain([operation.handler.shared_step()]) {
        for (name, reason) in step.allowed() {
            let known = Rule::ALL.iter().any(|rule| rule.name() == *name);
            if !known || !is_reason(reason) {
                let problem = if known { "without a reason" } else { "which is not a rule" };
                let detail = format!("is after `.allow(\"{name}\", ..)`, {problem}");
                findings.add(Rule::UnknownRule, step, None, operation, detail);
            }
        }
    }
}

/// Whether the reason of an [`allow`](crate::Chain::allow) has words.
fn is_reason(reason: &str) -> bool {
    reason.chars().any(char::is_alphanumeric)
}

/// What two steps share that each should have alone, on whatever paths they are.
fn shared(operations: &[Operation<'_>], findings: &mut Findings) {
    let mut seen: Vec<&Arc<DeclaredStep>> = Vec::new();
    for operation in operations {
        for step in operation.handler.middleware() {
            if seen.iter().any(|known| Arc::ptr_eq(known, step)) {
                continue;
            }
            let own = step.declaration().used();
            for other in &seen {
                let used = other.declaration().used();
                let is_clone =
                    own.iter().any(|one| matches!(one, Resource::Limiter(_)) && used.contains(one));
                for one in own.iter().filter(|one| used.contains(one)) {
                    let (rule, detail) = match one {
                        Resource::Secret(_) if is_same_door(step, other) => continue,
                        Resource::Secret(_) => {
                            (Rule::SharedSecret, "has the secret of another step")
                        }
                        Resource::Counts(_) if !is_clone => {
                            (Rule::LimiterTwice, "has the counts of another limiter")
                        }
                        _ => continue,
                    };
                    findings.add(rule, step, Some(other), operation, detail);
                }
            }
            seen.push(step);
        }
    }
}

/// Whether two steps are the same one, written for two paths: both accept the same credentials.
fn is_same_door(step: &Arc<DeclaredStep>, other: &Arc<DeclaredStep>) -> bool {
    let credentials = step.declaration().credentials();
    step.name() == other.name()
        && !credentials.is_empty()
        && credentials == other.declaration().credentials()
}

fn has(step: &Arc<DeclaredStep>, kind: &Kind) -> bool {
    step.declaration().kinds().contains(kind)
}

fn is_limit(step: &Arc<DeclaredStep>) -> bool {
    step.declaration().kinds().iter().any(|kind| matches!(kind, Kind::Limit(_)))
}

/// Whether the step limits how often a client can try, whatever it sends.
fn bounds_attempts(step: &Arc<DeclaredStep>) -> bool {
    let bounds = |kind: &Kind| {
        matches!(kind, Kind::Limit(Subject::Address | Subject::Everyone | Subject::Function))
    };
    step.declaration().kinds().iter().any(bounds)
}

fn limits_by(step: &Arc<DeclaredStep>, subject: &Subject) -> bool {
    has(step, &Kind::Limit(subject.clone()))
}

/// Whether the step refuses some requests.
fn refuses(step: &Arc<DeclaredStep>) -> bool {
    let answered = step.declaration().answered();
    let refuses = |status: http::StatusCode| status.is_client_error() || status.is_server_error();
    let is_check = |kind: &Kind| {
        matches!(kind, Kind::Limit(_) | Kind::Penalty(_) | Kind::Overload | Kind::VerifiesBody)
    };
    step.verb() == "guard"
        || authenticates(step)
        || step.declaration().kinds().iter().any(is_check)
        || answered.iter().any(|answer| refuses(answer.status()))
}

/// Whether the step refuses clients that it does not know, or that may not do this.
fn authenticates(step: &Arc<DeclaredStep>) -> bool {
    let declaration = step.declaration();
    (has(step, &Kind::Authentication) && declaration.needs_credentials())
        || has(step, &Kind::Authorization)
}

/// Whether the step knows which user a client is.
fn distinguishes(step: &Arc<DeclaredStep>) -> bool {
    authenticates(step) || has(step, &Kind::Session)
}

/// Whether the step is a check in front of a route, for each request.
fn checks(step: &Arc<DeclaredStep>) -> bool {
    let is_check = authenticates(step) || has(step, &Kind::VerifiesBody) || step.verb() == "guard";
    is_check && !step.declaration().conditional()
}

/// Whether the step verifies the value of this header field.
fn verifies(step: &Arc<DeclaredStep>, name: &str) -> bool {
    authenticates(step)
        && step.declaration().credentials().iter().any(|credential| match credential.scheme() {
            Scheme::Basic | Scheme::Bearer(_) | Scheme::Http(_) | Scheme::Issuer(_) => {
                name == "authorization"
            }
            Scheme::Header(header) => header == name,
            Scheme::Cookie(_) => name == "cookie",
            Scheme::Query(_) | Scheme::Certificate => false,
        })
}

/// The cookies by which the step knows clients.
fn cookies(step: &Arc<DeclaredStep>) -> impl Iterator<Item = String> {
    let declaration = step.declaration();
    let named =
        declaration.credentials().iter().filter_map(|credential| match credential.scheme() {
            Scheme::Cookie(name) => Some(format!("the cookie `{name}`")),
            _ => None,
        });
    let session = has(step, &Kind::Session).then(|| "the cookie of a session".to_owned());
    named.chain(session)
}
