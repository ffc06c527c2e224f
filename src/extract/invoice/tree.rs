//! The XML of an invoice as a tree: small, whole, and refused where it is damaged.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::error::Error;

/// Invoices nest some ten deep and have some ten thousand elements.
const MAX_DEPTH: usize = 200;
const MAX_ELEMENTS: usize = 1_000_000;

/// An element with its local name.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<usize>,
    parent: Option<usize>,
    /// Which of its siblings of this name it is, from 1, and whether there are others.
    position: usize,
    has_twins: bool,
}

/// All elements of a document; the root is the first.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// An element of a [`Tree`].
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    tree: &'a Tree,
    at: usize,
}

impl Tree {
    /// Reads XML already decoded to text.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when it is not well formed, or larger or deeper than an invoice is.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut reader = Reader::from_str(text);
        let mut builder = Builder { tree: Self { nodes: Vec::new() }, open: Vec::new(), prefixes: Vec::new() };
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => builder.open(&start)?,
                Ok(Event::Empty(start)) => {
                    builder.open(&start)?;
                    builder.close();
                }
                Ok(Event::End(_)) => builder.close(),
                Ok(Event::Text(content)) => builder.text(&content.xml10_content()),
                Ok(Event::CData(content)) => builder.text(&content.into_inner()),
                Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                    Ok(Some(c)) => builder.text(c.encode_utf8(&mut [0; 4])),
                    _ => match quick_xml::escape::resolve_predefined_entity(&reference) {
                        Some(text) => builder.text(text),
                        None => return Err(damaged(&format!("the entity `{}` is not defined", &*reference))),
                    },
                },
                Ok(Event::Eof) => break,
                Ok(_) => {}
                Err(error) => return Err(damaged(&error.to_string())),
            }
        }
        if !builder.open.is_empty() {
            return Err(damaged("it ends before its elements do"));
        }
        if builder.tree.nodes.is_empty() {
            return Err(damaged("it has no element"));
        }
        Ok(builder.tree)
    }

    pub(super) fn root(&self) -> Element<'_> {
        Element { tree: self, at: 0 }
    }
}

/// An open element, and the children it has had by name: the first of them, and how many.
struct Open {
    at: usize,
    children: HashMap<String, (usize, usize)>,
}

struct Builder {
    tree: Tree,
    open: Vec<Open>,
    /// Declared prefixes with the depth they hold from.
    prefixes: Vec<(usize, String)>,
}

impl Builder {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Error> {
        if self.open.len() >= MAX_DEPTH || self.tree.nodes.len() >= MAX_ELEMENTS {
            return Err(damaged(&format!(
                "it has more than {MAX_ELEMENTS} elements, or nests more than {MAX_DEPTH} deep"
            )));
        }
        if self.open.is_empty() && !self.tree.nodes.is_empty() {
            return Err(damaged("it has two roots"));
        }
        let depth = self.open.len();
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| damaged(&error.to_string()))?;
            let key: &str = attribute.key.into_inner();
            let raw: &str = &attribute.value;
            let value = quick_xml::escape::unescape(raw).map_err(|error| damaged(&error.to_string()))?.into_owned();
            match key.split_once(':') {
                Some(("xmlns", prefix)) => self.prefixes.push((depth, prefix.to_owned())),
                None if key == "xmlns" => {}
                Some((_, local)) => attributes.push((local.to_owned(), value)),
                None => attributes.push((key.to_owned(), value)),
            }
        }
        let full: &str = start.name().into_inner();
        let (prefix, name) = full.split_once(':').unwrap_or(("", full));
        if !prefix.is_empty() && prefix != "xml" && !self.prefixes.iter().any(|(_, known)| known == prefix) {
            return Err(damaged(&format!("the prefix `{prefix}` is not declared")));
        }
        let at = self.tree.nodes.len();
        let (mut parent, mut position) = (None, 1);
        if let Some(open) = self.open.last_mut() {
            parent = Some(open.at);
            self.tree.nodes[open.at].children.push(at);
            let (first, count) = open.children.entry(name.to_owned()).or_insert((at, 0));
            *count += 1;
            position = *count;
            if position == 2 {
                self.tree.nodes[*first].has_twins = true;
            }
        }
        self.tree.nodes.push(Node {
            name: name.to_owned(),
            attributes,
            parent,
            position,
            has_twins: position > 1,
            ..Node::default()
        });
        self.open.push(Open { at, children: HashMap::new() });
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(open) = self.open.last() {
            self.tree.nodes[open.at].text.push_str(text);
        }
    }

    fn close(&mut self) {
        self.open.pop();
        let depth = self.open.len();
        while self.prefixes.last().is_some_and(|(from, _)| *from >= depth) {
            self.prefixes.pop();
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::unreadable(format!("damaged XML: {what}"))
}

impl<'a> Element<'a> {
    fn node(self) -> &'a Node {
        &self.tree.nodes[self.at]
    }

    pub(super) fn name(self) -> &'a str {
        &self.node().name
    }

    pub(super) fn parent(self) -> Option<Self> {
        self.node().parent.map(|at| Self { at, ..self })
    }

    pub(super) fn children(self) -> impl Iterator<Item = Self> {
        self.node().children.iter().map(move |at| Self { at: *at, ..self })
    }

    /// Its own text without the white space around it; `None` where there is none.
    pub(super) fn text(self) -> Option<String> {
        let text = self.node().text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(super) fn attribute(self, name: &str) -> Option<&'a str> {
        self.node().attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn attributes(self) -> impl Iterator<Item = &'a str> {
        self.node().attributes.iter().map(|(name, _)| name.as_str())
    }

    /// The elements at a path of local names below it (`A/B`).
    pub(super) fn all(self, path: &str) -> Vec<Self> {
        let mut found = vec![self];
        for step in path.split('/') {
            found = found
                .into_iter()
                .flat_map(|element| element.children().filter(|child| child.name() == step).collect::<Vec<_>>())
                .collect();
        }
        found
    }

    /// The first of them.
    pub(super) fn one(self, path: &str) -> Option<Self> {
        self.all(path).into_iter().next()
    }

    /// The text of the first of them that has one.
    pub(super) fn get(self, path: &str) -> Option<String> {
        self.all(path).into_iter().find_map(Self::text)
    }

    /// The attribute of the first of them.
    pub(super) fn get_attribute(self, path: &str, name: &str) -> Option<String> {
        self.one(path)?.attribute(name).map(str::to_owned)
    }

    /// Every element of the document, in its order.
    pub(super) fn elements(self) -> Vec<Self> {
        (0..self.tree.nodes.len()).map(|at| Self { at, ..self }).collect()
    }

    /// Its XPath, of local names.
    pub(super) fn path(self) -> String {
        let mut steps = Vec::new();
        let mut here = Some(self);
        while let Some(element) = here {
            here = element.parent();
            let node = element.node();
            steps.push(match node.has_twins {
                true => format!("/{}[{}]", node.name, node.position),
                false => format!("/{}", node.name),
            });
        }
        steps.reverse();
        steps.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_their_names() {
        let tree = Tree::parse("<a:X xmlns:a='u' xmlns='v'><B k='1'>eins</B><B><C>&amp;zwei</C></B></a:X>").unwrap();
        let root = tree.root();
        assert_eq!(root.name(), "X");
        assert_eq!(root.get("B/C").as_deref(), Some("&zwei"));
        assert_eq!(root.get_attribute("B", "k").as_deref(), Some("1"));
        assert_eq!(root.one("B/C").unwrap().path(), "/X/B[2]/C");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in ["", "<a>", "<a></b>", "<a/><b/>", "<a>&x;</a>", "<p:a/>", "<a b='1' b='2'/>"] {
            assert!(Tree::parse(text).is_err(), "{text}");
        }
        let bomb = "<!DOCTYPE a [<!ENTITY x \"xx\"><!ENTITY y \"&x;&x;\">]><a>&y;</a>";
        assert!(Tree::parse(bomb).unwrap_err().to_string().contains("`y` is not defined"));
        assert!(Tree::parse(&"<a>".repeat(50_000)).is_err());
    }
}
