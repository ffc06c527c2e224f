//! The first walk: how much text stands below each path of element names.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::{RECORD_BYTES, Visit, attributes, local};

/// Paths are told apart down to this depth; deeper ones count as their ancestor.
const MAX_DEPTH: usize = 64;

/// Every path of element names, as a tree, with how often it occurs and how much text stands below it.
#[derive(Default)]
pub(super) struct Paths {
    names: Vec<String>,
    by_name: HashMap<String, u32>,
    children: HashMap<(u32, u32), u32>,
    count: Vec<u64>,
    bytes: Vec<u64>,
    has_children: Vec<bool>,
    stack: Vec<u32>,
    /// Open elements below [`MAX_DEPTH`].
    beyond: usize,
}

impl Paths {
    pub(super) fn weigh(text: &str) -> Self {
        let mut paths = Self {
            names: vec![String::new()],
            count: vec![1],
            bytes: vec![0],
            has_children: vec![true],
            stack: vec![0],
            ..Self::default()
        };
        // Where the walk stops, the second walk stops as well, and says so.
        super::walk(text, &mut paths);
        paths.stack = vec![0];
        paths.beyond = 0;
        paths
    }

    fn node(&mut self, parent: u32, name: &str) -> u32 {
        let name_id = match self.by_name.get(name) {
            Some(id) => *id,
            None => {
                let id = self.by_name.len() as u32;
                self.by_name.insert(name.to_owned(), id);
                id
            }
        };
        if let Some(node) = self.children.get(&(parent, name_id)) {
            return *node;
        }
        let node = self.names.len() as u32;
        self.children.insert((parent, name_id), node);
        self.names.push(name.to_owned());
        self.count.push(0);
        self.bytes.push(0);
        self.has_children.push(false);
        node
    }

    /// Enters an element; `None` below the depth where paths are told apart.
    pub(super) fn enter(&mut self, name: &str) -> Option<u32> {
        if self.stack.len() > MAX_DEPTH {
            self.beyond += 1;
            return None;
        }
        let parent = self.stack.last().copied().unwrap_or(0);
        let node = self.node(parent, name);
        self.has_children[parent as usize] = true;
        self.stack.push(node);
        Some(node)
    }

    pub(super) fn leave(&mut self) -> Option<u32> {
        if self.beyond > 0 {
            self.beyond -= 1;
            return None;
        }
        if self.stack.len() > 1 { self.stack.pop() } else { None }
    }

    /// Whether elements at this node are records: small enough for one passage, with fields of their own.
    pub(super) fn is_record(&self, node: u32) -> bool {
        let node = node as usize;
        self.has_children[node] && self.bytes[node] <= RECORD_BYTES * self.count[node].max(1)
    }
}

impl Visit for Paths {
    fn open(&mut self, start: &BytesStart<'_>, _: usize) {
        let attributes = attribute_bytes(start);
        if let Some(node) = self.enter(local(start)) {
            self.count[node as usize] += 1;
        }
        for node in &self.stack {
            self.bytes[*node as usize] += attributes;
        }
    }

    fn text(&mut self, text: &str) {
        let bytes = text.trim().len() as u64;
        if bytes > 0 {
            for node in &self.stack {
                self.bytes[*node as usize] += bytes;
            }
        }
    }

    fn close(&mut self, _: usize) {
        self.leave();
    }
}

fn attribute_bytes(start: &BytesStart<'_>) -> u64 {
    attributes(start).iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}
