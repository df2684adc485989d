//! [`Fields`] for types of the standard library.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;
use std::sync::Arc;

use serde_core::de::DeserializeOwned;

use crate::extract::fields::Fields;
use crate::extract::fields::document::Key;
use crate::extract::fields::read::read;
use crate::extract::fields::shape::Shape;

macro_rules! values {
    ($($kind:ty)*) => {$(
        impl Fields for $kind {
            fn shape() -> &'static Shape {
                const { &Shape::Value { read: read::<Self> } }
            }
        }
    )*};
}

values! {
    () bool char String Box<str> Cow<'static, str>
    i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64
    std::num::NonZeroI8 std::num::NonZeroI16 std::num::NonZeroI32 std::num::NonZeroI64 std::num::NonZeroIsize
    std::num::NonZeroU8 std::num::NonZeroU16 std::num::NonZeroU32 std::num::NonZeroU64 std::num::NonZeroUsize
    std::net::IpAddr std::net::Ipv4Addr std::net::Ipv6Addr std::net::SocketAddr std::path::PathBuf std::time::Duration
}

#[cfg(feature = "json")]
values! { serde_json::Value serde_json::Map<String, serde_json::Value> serde_json::Number }

macro_rules! lists {
    ($($kind:ident)*) => {$(
        impl<T: Fields> Fields for $kind<T> {
            fn shape() -> &'static Shape {
                const {
                    &Shape::List {
                        item: T::shape,
                        inside: |list, index| Some(list.downcast_ref::<Self>()?.iter().nth(index)? as &dyn Any),
                        len: None,
                    }
                }
            }
        }
    )*};
}

lists! { Vec VecDeque LinkedList }

impl<T: Fields> Fields for Box<[T]> {
    fn shape() -> &'static Shape {
        const {
            &Shape::List {
                item: T::shape,
                inside: |list, index| Some(list.downcast_ref::<Self>()?.get(index)? as &dyn Any),
                len: None,
            }
        }
    }
}

impl<T: Fields, const N: usize> Fields for [T; N] {
    fn shape() -> &'static Shape {
        const {
            &Shape::List {
                item: T::shape,
                inside: |list, index| Some(list.downcast_ref::<Self>()?.get(index)? as &dyn Any),
                len: Some(N),
            }
        }
    }
}

impl<T: Fields, S: 'static> Fields for HashSet<T, S> {
    fn shape() -> &'static Shape {
        const { &Shape::Set { item: T::shape } }
    }
}

impl<T: Fields> Fields for BTreeSet<T> {
    fn shape() -> &'static Shape {
        const { &Shape::Set { item: T::shape } }
    }
}

impl<T: Fields> Fields for Option<T> {
    fn shape() -> &'static Shape {
        const {
            &Shape::Option {
                some: T::shape,
                inside: |option, _| Some(option.downcast_ref::<Self>()?.as_ref()? as &dyn Any),
            }
        }
    }
}

macro_rules! pointers {
    ($($kind:ident)*) => {$(
        impl<T: Fields> Fields for $kind<T> {
            fn shape() -> &'static Shape {
                const {
                    &Shape::Same {
                        inner: T::shape,
                        inside: |pointer, _| Some(&**pointer.downcast_ref::<Self>()? as &dyn Any),
                        step: None,
                        rules: &[],
                    }
                }
            }
        }
    )*};
}

pointers! { Arc Box Rc }

impl<K, V, S> Fields for HashMap<K, V, S>
where
    K: DeserializeOwned + Eq + Hash + 'static,
    V: Fields,
    S: BuildHasher + 'static,
{
    fn shape() -> &'static Shape {
        const {
            &Shape::Map {
                value: V::shape,
                inside: |map, index| {
                    Some(map.downcast_ref::<Self>()?.values().nth(index)? as &dyn Any)
                },
                positions: |map, keys| {
                    let Some(map) = map.downcast_ref::<Self>() else { return Vec::new() };
                    let positions: HashMap<&K, usize> = map.keys().zip(0..).collect();
                    let position =
                        |key: &&str| positions.get(&K::deserialize(Key(key)).ok()?).copied();
                    keys.iter().map(position).collect()
                },
                is_key: |key| K::deserialize(Key(key)).is_ok(),
            }
        }
    }
}

impl<K: DeserializeOwned + Ord + 'static, V: Fields> Fields for BTreeMap<K, V> {
    fn shape() -> &'static Shape {
        const {
            &Shape::Map {
                value: V::shape,
                inside: |map, index| {
                    Some(map.downcast_ref::<Self>()?.values().nth(index)? as &dyn Any)
                },
                positions: |map, keys| {
                    let Some(map) = map.downcast_ref::<Self>() else { return Vec::new() };
                    let positions: BTreeMap<&K, usize> = map.keys().zip(0..).collect();
                    let position =
                        |key: &&str| positions.get(&K::deserialize(Key(key)).ok()?).copied();
                    keys.iter().map(position).collect()
                },
                is_key: |key| K::deserialize(Key(key)).is_ok(),
            }
        }
    }
}

macro_rules! tuples {
    ($($($kind:ident $index:tt)*;)*) => {$(
        impl<$($kind: Fields),*> Fields for ($($kind,)*) {
            fn shape() -> &'static Shape {
                const {
                    &Shape::Tuple {
                        items: &[$($kind::shape),*],
                        required: [$($index),*].len(),
                        inside: |tuple, index| {
                            let tuple = tuple.downcast_ref::<Self>()?;
                            match index {
                                $($index => Some(&tuple.$index as &dyn Any),)*
                                _ => None,
                            }
                        },
                        rules: &[],
                    }
                }
            }
        }
    )*};
}

tuples! {
    A 0;
    A 0 B 1;
    A 0 B 1 C 2;
    A 0 B 1 C 2 D 3;
    A 0 B 1 C 2 D 3 E 4;
    A 0 B 1 C 2 D 3 E 4 F 5;
}
