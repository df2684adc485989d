//! Keeps each value of a type that several scopes provide.
//!
//! A value is in the extensions of the request, by its type. So a scope that provides a type replaces the value of the scope around it.
//! A request that leaves the inner scope, because its handlers passed it on or no handler matched, gets the outer value again. It may
//! also enter the inner scope once more in a later pass, whose steps don't run again, and then gets the inner value. This is why
//! all values are kept, each with its scope, and selected whenever the scope of the request changes.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::any::TypeId;
use std::cmp::Reverse;
use std::sync::Arc;

use http::Extensions;

/// The types that several scopes of a chain provide. In most chains there are none, and nothing is kept.
pub struct SharedTypes {
    /// Tells the values of this chain from those of another chain that has the same request.
    chain: u32,
    types: Box<[TypeId]>,
    /// The numbers of the first step and the end of each scope.
    scopes: Box<[(u32, u32)]>,
}

impl SharedTypes {
    pub(crate) fn new(chain: u32, types: Vec<TypeId>, scopes: Vec<(u32, u32)>) -> Self {
        Self { chain, types: types.into(), scopes: scopes.into() }
    }

    /// Keeps a value that a step provides, if several scopes provide its type. `end` is the end of the scope of the step.
    #[inline(always)]
    pub(crate) fn keep<T>(&self, end: u32, value: &T, extensions: &mut Extensions)
    where
        T: Clone + Send + Sync + 'static,
    {
        let of = TypeId::of::<T>();
        if self.types.contains(&of) {
            let value = value.clone();
            let put: Put = Arc::new(move |extensions| {
                extensions.insert(value.clone());
            });
            self.push(of, end, put, extensions);
        }
    }

    fn push(&self, of: TypeId, end: u32, put: Put, extensions: &mut Extensions) {
        let first = self.scopes.iter().find(|scope| scope.1 == end).map_or(end, |scope| scope.0);
        let chain = self.chain;
        let mut versions = extensions.remove::<Versions>().unwrap_or_default();
        versions.set_current(chain, of, None);
        versions.0.push(Version { chain, of, first, end, is_current: true, put });
        extensions.insert(versions);
    }

    /// Puts the values for a scope into the extensions. `end` is the end of the scope.
    #[inline(always)]
    pub(crate) fn select(&self, end: u32, extensions: &mut Extensions) {
        if !self.types.is_empty() {
            self.put(end, extensions);
        }
    }

    fn put(&self, end: u32, extensions: &mut Extensions) {
        let Some(mut versions) = extensions.remove::<Versions>() else { return };
        for &of in &self.types {
            let Some(index) = versions.innermost(self.chain, of, end) else { continue };
            if !versions.0[index].is_current {
                versions.set_current(self.chain, of, Some(index));
                (versions.0[index].put)(extensions);
            }
        }
        extensions.insert(versions);
    }
}

/// The values that the steps have provided so far, in this order.
#[derive(Clone, Default)]
struct Versions(Vec<Version>);

impl Versions {
    /// The value of the innermost scope that contains a scope; the last one if that scope has provided several.
    fn innermost(&self, chain: u32, of: TypeId, end: u32) -> Option<usize> {
        let versions = self.0.iter().enumerate().filter(|(_, version)| {
            version.chain == chain
                && version.of == of
                && (version.first..=version.end).contains(&end)
        });
        versions
            .max_by_key(|(_, version)| (version.first, Reverse(version.end)))
            .map(|(index, _)| index)
    }

    fn set_current(&mut self, chain: u32, of: TypeId, current: Option<usize>) {
        for (index, version) in self.0.iter_mut().enumerate() {
            if version.chain == chain && version.of == of {
                version.is_current = current == Some(index);
            }
        }
    }
}

/// A value, and the scope of the step that provided it.
#[derive(Clone)]
struct Version {
    chain: u32,
    of: TypeId,
    first: u32,
    end: u32,
    /// Whether the value is in the extensions. If a step changed it there, the change stays until another scope's value replaces it.
    is_current: bool,
    put: Put,
}

/// Puts a clone of a value into the extensions. It is the value without its type.
type Put = Arc<dyn Fn(&mut Extensions) + Send + Sync>;
