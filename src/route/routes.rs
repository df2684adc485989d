//! The lookup of a request: from path and method to a plan.
//!
//! The second file on the path of a request: [`Routes::match_request`] is called by `tower/service.rs`, before any step runs.
//! Next: `step/around.rs`, which reads the plan. The table itself is made by `planner.rs`.

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::Request;
use crate::route::decode::canonical;
use crate::route::listing::{Node, Route, write_branch};
use crate::route::plan::Plan;

/// The lookup table of a built chain.
///
/// A router maps a path to an index of `entries`, an entry maps a method to an index of `plans`.
pub struct Routes {
    /// The patterns that are in neither of the two lists below.
    pub(super) paths: matchit::Router<usize>,
    /// One router for each number of segments before the catch-all. `matchit` refuses a catch-all where another pattern has a
    /// parameter, as `/{*rest}` and `/{id}` have. In a router of its own number, no pattern has a parameter there.
    pub(super) catch_alls: Vec<matchit::Router<usize>>,
    /// Patterns with a parameter that is a part of a segment. Each has its own router, because `matchit` does not backtrack from
    /// such a segment to another pattern.
    pub(super) partials: Vec<matchit::Router<usize>>,
    /// The patterns.
    pub(super) entries: Vec<MethodPlans>,
    /// The plans of the handlers without a path, for paths that no pattern matches.
    pub(super) anywhere: Option<MethodPlans>,
    /// The plans for paths that no handler matches, under a scope that has a step or a hook for them. The innermost scope is
    /// the first.
    pub(super) scopes: Vec<(matchit::Router<()>, usize)>,
    /// The plan for all other paths.
    pub(super) not_found: usize,
    /// The plan for paths that can't be decoded.
    pub(super) bad_encoding: usize,
    /// The plan for `OPTIONS *` (RFC 9110, 9.3.7).
    pub(super) options_star: usize,
    pub(super) plans: Vec<Plan>,
    pub(super) listing: Vec<Route>,
    pub(super) tree: Vec<Node>,
    /// By the number of a step, the index of its line in the tree.
    #[cfg(feature = "step-times")]
    pub(super) nodes: Vec<usize>,
    /// A number that is unique to this chain.
    #[cfg(feature = "step-times")]
    pub(crate) id: u32,
    /// Whether a step has a prefix, which is compared with the path that was matched.
    pub(crate) has_prefixes: bool,
    /// Whether the chain is in front of a service, as a layer.
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

    /// The line of a step in the tree.
    #[cfg(feature = "step-times")]
    pub(crate) fn node(&self, step: u32) -> Option<&Node> {
        self.nodes.get(step as usize).and_then(|&node| self.tree.get(node))
    }

    #[cfg(feature = "overhead")]
    pub(crate) fn tree(&self) -> &[Node] {
        &self.tree
    }

    /// Matches path and method, puts the parameters into the extensions, and returns the index of the plan.
    pub(crate) fn match_request(&self, req: &mut Request) -> usize {
        if !req.extensions().is_empty() {
            // A chain around this one may have left its own match there.
            req.extensions_mut().remove::<Matched>();
        }
        let (plan, matched) = self.look_up(req);
        if let Some(matched) = matched {
            req.extensions_mut().insert(matched);
        }
        plan
    }

    /// Finds the plan of a request, without changing the request.
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
            // The service behind a chain may accept such a path.
            return (anywhere.filter(|_| self.in_front).unwrap_or(self.bad_encoding), None);
        };
        // A match without parameters has the highest precedence. Otherwise the match of the lowest rank answers.
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
        // `matchit` returns the values as slices of `path`. They are stored as offsets.
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

    /// Puts the matched pattern into the extensions, where extractors read it. `depth` is the depth of the scope of the step that
    /// is about to run extractors.
    ///
    /// This is the only code that sets the depth of a [`Matched`]. The steps call it through `Cx::show_match`, before any code that
    /// can read the extensions in search of it: the arguments of a function, a tower layer, a tower service.
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

/// The pattern and the parameters of a request. It is in the extensions of the request.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    pattern: Arc<MatchedPattern>,
    /// `None` for a pattern without parameters.
    captured: Option<Arc<Captured>>,
    /// How many segments of the path are before the path of the present scope. [`Routes::show_match`] sets it.
    depth: usize,
}

impl Matched {
    /// The match of another router: its pattern, and the names and decoded values of the parameters.
    #[cfg(feature = "axum")]
    pub(crate) fn of_router<'a>(
        pattern: &str,
        params: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let (mut names, mut path, mut spans) = (Vec::new(), String::new(), Vec::new());
        for (name, value) in params {
            let start = path.len();
            path.push_str(&value.replace('%', "%25").replace('/', "%2F"));
            spans.push((start, path.len()));
            names.push(name.to_owned());
        }
        let captured = Captured { path: path.into(), spans };
        let pattern = MatchedPattern { text: pattern.to_owned(), names };
        Self { pattern: Arc::new(pattern), captured: Some(Arc::new(captured)), depth: 0 }
    }

    pub(crate) fn pattern(&self) -> &str {
        &self.pattern.text
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Names and decoded values, in the order of the path.
    #[cfg(feature = "query")]
    pub(crate) fn params(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        self.raw_params().map(|(name, value)| (name, crate::route::decode::decode_value(value)))
    }

    /// Names and values, in which `%2F` and `%25` are still encoded.
    pub(crate) fn raw_params(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.captured.iter().flat_map(|captured| {
            captured.spans.iter().filter_map(|&(start, end)| captured.path.get(start..end))
        });
        self.pattern.names.iter().map(String::as_str).zip(values)
    }
}

/// The text of a pattern, and the names of its parameters.
#[derive(Debug)]
pub(crate) struct MatchedPattern {
    pub(crate) text: String,
    pub(crate) names: Vec<String>,
}

/// A path, and the byte ranges of the parameter values in it.
#[derive(Debug)]
struct Captured {
    path: Box<str>,
    spans: Vec<(usize, usize)>,
}

/// One pattern, with its plan for each method.
#[derive(Debug)]
pub(super) struct MethodPlans {
    pub(super) pattern: Option<Arc<MatchedPattern>>,
    pub(super) methods: Vec<(Method, usize)>,
    /// The plan for all other methods.
    pub(super) other: usize,
    /// If several patterns match a path, the one with the lowest rank answers.
    pub(super) rank: usize,
}

impl MethodPlans {
    fn plan(&self, method: &Method) -> usize {
        let found = self.methods.iter().find(|(candidate, _)| candidate == method);
        found.map_or(self.other, |(_, plan)| *plan)
    }
}
