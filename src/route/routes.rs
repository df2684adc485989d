//! The lookup of a request: path and method to a plan.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::Request;
use crate::route::listing::{Node, Route, write_branch};
use crate::route::pattern::canonical;
use crate::route::plan::Plan;

/// The table of a built chain.
pub struct Routes {
    pub(super) paths: matchit::Router<usize>,
    /// By the number of segments before the catch-all: those of one number never meet a parameter in its location.
    pub(super) catch_alls: Vec<matchit::Router<usize>>,
    /// Patterns with a parameter that is a part of a segment, each by itself: `matchit` doesn't go back from those.
    pub(super) partials: Vec<matchit::Router<usize>>,
    pub(super) entries: Vec<MethodPlans>,
    /// What handlers without a path answer.
    pub(super) anywhere: Option<MethodPlans>,
    /// The scopes with something to say to requests that no handler matches, the innermost first.
    pub(super) scopes: Vec<(matchit::Router<()>, usize)>,
    pub(super) not_found: usize,
    pub(super) bad_encoding: usize,
    pub(super) options_star: usize,
    pub(super) plans: Vec<Plan>,
    pub(super) listing: Vec<Route>,
    pub(super) tree: Vec<Node>,
    /// Of each step, its line in the tree.
    #[cfg(feature = "step-times")]
    pub(super) nodes: Vec<usize>,
    /// No other chain has the same.
    #[cfg(feature = "step-times")]
    pub(crate) id: u32,
    /// Whether a step decides on the path that was matched.
    pub(crate) gated: bool,
    /// Whether a service stands behind the chain.
    pub(super) in_front: bool,
}

impl Routes {
    pub(crate) fn plan(&self, index: usize) -> &Plan {
        &self.plans[index]
    }

    pub(crate) fn pattern(&self, route: usize) -> &str {
        self.entries[route].pattern.as_ref().map_or("", |pattern| &pattern.text)
    }

    pub(crate) fn listing(&self) -> &[Route] {
        &self.listing
    }

    /// The line of a step.
    #[cfg(feature = "step-times")]
    pub(crate) fn node(&self, step: u32) -> Option<&Node> {
        self.nodes.get(step as usize).and_then(|&node| self.tree.get(node))
    }

    #[cfg(feature = "overhead")]
    pub(crate) fn tree(&self) -> &[Node] {
        &self.tree
    }

    /// Matches path and method, and puts the parameters into the extensions.
    pub(crate) fn match_request(&self, req: &mut Request) -> usize {
        if !req.extensions().is_empty() {
            // A chain around this one may have left its own.
            req.extensions_mut().remove::<Matched>();
        }
        let (plan, matched) = self.look_up(req);
        if let Some(matched) = matched {
            req.extensions_mut().insert(matched);
        }
        plan
    }

    fn look_up(&self, req: &Request) -> (usize, Option<Matched>) {
        let raw = req.uri().path();
        if self.entries.is_empty() {
            let plan =
                self.anywhere.as_ref().map_or(self.not_found, |entry| entry.plan(req.method()));
            return (plan, None);
        }
        let anywhere = self.anywhere.as_ref().map(|entry| entry.plan(req.method()));
        if raw == "*" && *req.method() == Method::OPTIONS {
            return (anywhere.unwrap_or(self.options_star), None);
        }
        let Ok(path) = canonical(raw) else {
            // What stands behind a chain may see it otherwise.
            return (anywhere.filter(|_| self.in_front).unwrap_or(self.bad_encoding), None);
        };
        let mut found = self.paths.at(&path).ok();
        if found.as_ref().is_none_or(|found| !found.params.is_empty()) {
            let others = self.catch_alls.iter().chain(&self.partials);
            let others = others.filter_map(|router| router.at(&path).ok());
            found =
                found.into_iter().chain(others).min_by_key(|found| self.entries[*found.value].rank);
        }
        let Some(found) = found else {
            let scope = || self.scopes.iter().find(|(router, _)| router.at(&path).is_ok());
            let plan = anywhere.unwrap_or_else(|| scope().map_or(self.not_found, |scope| scope.1));
            return (plan, None);
        };
        let entry = &self.entries[*found.value];
        let plan = entry.plan(req.method());
        if found.params.is_empty() {
            return (plan, None);
        }
        let span = |value: &str| {
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            (start, start + value.len())
        };
        let matched = entry.pattern.as_ref().map(|pattern| Matched {
            pattern: pattern.clone(),
            captured: Some(Arc::new(Captured {
                spans: found.params.iter().map(|(_, value)| span(value)).collect(),
                path: Box::from(&*path),
            })),
            depth: 0,
        });
        (plan, matched)
    }

    /// Puts the matched pattern into the extensions, where extractors look for it. `depth` is that of the step that looks.
    pub(crate) fn show_match(&self, plan: &Plan, depth: usize, req: &mut Request) {
        if let Some(matched) = req.extensions_mut().get_mut::<Matched>() {
            matched.depth = depth;
            return;
        }
        let entry = plan.route.map(|route| &self.entries[route]);
        if let Some(pattern) = entry.and_then(|entry| entry.pattern.as_ref()) {
            let pattern = pattern.clone();
            req.extensions_mut().insert(Matched { pattern, captured: None, depth });
        }
    }
}

/// The tree of the steps of a built chain, in the order in which they are written.
impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "/")?;
        for (i, node) in self.tree.iter().enumerate() {
            write_branch(f, self.tree[i..].iter().map(|node| node.depth))?;
            writeln!(f, "{}", node.text)?;
        }
        Ok(())
    }
}

/// The pattern and the parameters of a request, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    pattern: Arc<MatchedPattern>,
    /// `None` for a pattern without parameters.
    captured: Option<Arc<Captured>>,
    /// How many segments of the path stand before the scope of the step that looks.
    depth: usize,
}

impl Matched {
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern.text
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Names and decoded values, in the order of the path.
    #[cfg(feature = "query")]
    pub(crate) fn params(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        self.raw_params().map(|(name, value)| (name, crate::route::pattern::decode_value(value)))
    }

    /// As [`params`](Self::params), with slashes inside a value still encoded.
    pub(crate) fn raw_params(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.captured.iter().flat_map(|captured| {
            captured.spans.iter().filter_map(|&(start, end)| captured.path.get(start..end))
        });
        self.pattern.names.iter().map(String::as_str).zip(values)
    }
}

#[derive(Debug)]
pub(crate) struct MatchedPattern {
    pub(crate) text: String,
    pub(crate) names: Vec<String>,
}

/// A path, and where in it the values of the parameters are.
#[derive(Debug)]
struct Captured {
    path: Box<str>,
    spans: Vec<(usize, usize)>,
}

/// One pattern, with everything that was registered for it.
#[derive(Debug)]
pub(super) struct MethodPlans {
    pub(super) pattern: Option<Arc<MatchedPattern>>,
    pub(super) methods: Vec<(Method, usize)>,
    pub(super) other: usize,
    /// Of two patterns that match a path, the one of lower rank answers.
    pub(super) rank: usize,
}

impl MethodPlans {
    fn plan(&self, method: &Method) -> usize {
        let found = self.methods.iter().find(|(candidate, _)| candidate == method);
        found.map_or(self.other, |(_, plan)| *plan)
    }
}
