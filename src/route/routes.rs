//! The lookup of a request: from path and method to a plan.
//!
//! The second file on the path of a request: [`Routes::match_request`] is called by `tower/root.rs`, before any step runs.
//! Next: `step/around.rs`, which reads the plan. The table itself is made by `planner.rs`.

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::Request;
use crate::route::decode::canonical;
use crate::route::listing::{Node, Route, write_branch};
use crate::route::plan::{Original, Plan};

/// The lookup table of a built chain.
///
/// A router maps a path to an index of `entries`, an entry maps a method to an index of `plans`.
#[derive(Default)]
pub struct Routes {
    /// The patterns that are in neither of the two lists below.
    pub(super) paths: matchit::Router<usize>,
    /// One router for each number of segments before the catch-all. `matchit` refuses a catch-all where another pattern has a
    /// parameter, as `/{*rest}` and `/{id}` have. In a router of its own number, no pattern has a parameter there.
    pub(super) catch_alls: Vec<matchit::Router<usize>>,
    /// Patterns with a parameter that is a part of a segment. Each has its own router, because `matchit` does not backtrack from
    /// such a segment to another pattern. Also the paths of scopes that have their own `on_no_match`.
    pub(super) singles: Vec<matchit::Router<usize>>,
    /// The patterns, then the paths of scopes that have their own `on_no_match`.
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
    pub(crate) id: u32,
    /// Whether a step may need the path and the method that were matched.
    pub(super) keeps_original: bool,
    /// Whether the chain is in front of a service, as a layer.
    pub(super) in_front: bool,
}

impl Routes {
    #[inline]
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
        let anywhere = self.anywhere.as_ref().and_then(|entry| entry.plan(req.method()));
        if self.entries.is_empty() {
            return (anywhere.unwrap_or(self.not_found), None);
        }
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
            let others = self.catch_alls.iter().chain(&self.singles);
            let others = others.filter_map(|router| router.at(&path).ok());
            found =
                found.into_iter().chain(others).min_by_key(|found| self.entries[*found.value].rank);
        }
        let scope = || self.scopes.iter().find(|(router, _)| router.at(&path).is_ok());
        let unmatched = || scope().map_or(self.not_found, |scope| scope.1);
        let Some(found) = found else { return (anywhere.unwrap_or_else(unmatched), None) };
        let entry = &self.entries[*found.value];
        match entry.plan(req.method()) {
            Some(plan) if found.params.is_empty() => (plan, None),
            Some(plan) => (plan, entry.captured(&path, &found.params)),
            None => (unmatched(), None),
        }
    }

    /// The path and the method of a request, if a step may need them later.
    #[inline(always)]
    pub(crate) fn original(&self, req: &Request) -> Option<Arc<Original>> {
        self.keeps_original.then(|| {
            let (path, method) = (req.uri().path().into(), req.method().clone());
            Arc::new(Original::new(path, method))
        })
    }

    /// The next pass of a request that all handlers of a plan passed on: the plan of the next broader pattern that has handlers for
    /// it. Puts the parameters of this pattern into the extensions of the request.
    pub(crate) fn next_pass(
        &self,
        plan: &Plan,
        original: &Arc<Original>,
        req: &mut Request,
    ) -> Option<Original> {
        let path = canonical(&original.path).ok()?;
        let followed_by = |entry: &MethodPlans| {
            let next = entry.plan(&original.method)?;
            Some(original.followed_by(plan.followed_by(&self.plans[next])?))
        };
        for &broader in &self.entries[plan.route?].broader {
            let entry = &self.entries[broader];
            let Some(found) = entry.alone.as_ref().and_then(|router| router.at(&path).ok()) else {
                continue;
            };
            // The requests under a scope with its own `on_no_match` go to no broader pattern.
            entry.other?;
            if let Some(next) = followed_by(entry) {
                req.extensions_mut().remove::<Matched>();
                if let Some(matched) = entry.captured(&path, &found.params) {
                    req.extensions_mut().insert(matched);
                }
                return Some(next);
            }
        }
        let next = self.anywhere.as_ref().and_then(followed_by)?;
        req.extensions_mut().remove::<Matched>();
        Some(next)
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
#[derive(Default)]
pub(super) struct MethodPlans {
    pub(super) pattern: Option<Arc<MatchedPattern>>,
    pub(super) methods: Vec<(Method, usize)>,
    /// The plan for all other methods. `None` if requests that match it are unmatched: it is the path of a scope.
    pub(super) other: Option<usize>,
    /// If several patterns match a path, the one with the lowest rank answers.
    pub(super) rank: usize,
    /// The patterns of higher rank that may match the same path, if all handlers of this one may pass a request on. By rank.
    pub(super) broader: Box<[usize]>,
    /// A router with this pattern alone, if it is a broader one of another pattern.
    pub(super) alone: Option<matchit::Router<()>>,
}

impl MethodPlans {
    #[inline]
    fn plan(&self, method: &Method) -> Option<usize> {
        let found = self.methods.iter().find(|(candidate, _)| candidate == method);
        found.map_or(self.other, |(_, plan)| Some(*plan))
    }

    /// The parameters of a match. `None` for a pattern without parameters.
    fn captured(&self, path: &str, params: &matchit::Params<'_, '_>) -> Option<Matched> {
        // `matchit` returns the values as slices of `path`. They are stored as offsets.
        let span = |value: &str| {
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            (start, start + value.len())
        };
        let pattern = self.pattern.as_ref().filter(|_| !params.is_empty())?.clone();
        let spans = params.iter().map(|(_, value)| span(value)).collect();
        let captured = Some(Arc::new(Captured { spans, path: path.into() }));
        Some(Matched { pattern, captured, depth: 0 })
    }
}
