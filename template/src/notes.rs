//! The notes, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// A note, as clients see it.
#[derive(Clone, Serialize)]
pub struct Note {
    pub id: u64,
    pub text: String,
}

/// The notes of all owners. Clones share them.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    next_id: u64,
    notes: BTreeMap<u64, (String, Note)>,
}

impl Notes {
    /// The notes of an owner, oldest first.
    pub fn list(&self, owner: &str) -> Vec<Note> {
        self.with(|stored| stored.of(owner).cloned().collect())
    }

    /// One note, if it exists and belongs to this owner.
    pub fn find(&self, owner: &str, id: u64) -> Option<Note> {
        self.with(|stored| stored.of(owner).find(|note| note.id == id).cloned())
    }

    /// Adds a note. `None` if the owner has [`MAX_NOTES`] already.
    pub fn add(&self, owner: &str, text: String) -> Option<Note> {
        self.with(|stored| {
            if stored.of(owner).count() >= MAX_NOTES {
                return None;
            }
            stored.next_id += 1;
            let note = Note { id: stored.next_id, text };
            stored.notes.insert(note.id, (owner.to_owned(), note.clone()));
            Some(note)
        })
    }

    /// Removes a note. False if it doesn't exist, or belongs to another owner.
    pub fn remove(&self, owner: &str, id: u64) -> bool {
        self.with(|stored| {
            let is_own = stored.of(owner).any(|note| note.id == id);
            is_own && stored.notes.remove(&id).is_some()
        })
    }

    fn with<T>(&self, run: impl FnOnce(&mut Stored) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stored {
    fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Note> {
        self.notes.values().filter(move |(own, _)| own == owner).map(|(_, note)| note)
    }
}

/// The most notes of one owner.
pub const MAX_NOTES: usize = 100;
