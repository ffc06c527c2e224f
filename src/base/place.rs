use std::fmt;

use serde::{Deserialize, Serialize};

/// Where in a document a passage stands. All counts start at 1; what does not apply is absent.
///
/// `part` is the way to a document inside a document (`rechnung.pdf` in a mail, `a.zip/b.txt`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slide: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_first: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_first: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_last: Option<u32>,
    /// The way to the element in XML (an XPath of local names), or to the value in JSON (a JSON Pointer).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xpath: Option<String>,
}

impl Place {
    /// A page of a paged document.
    pub fn page(page: u32) -> Self {
        Self { page: Some(page), ..Self::default() }
    }

    /// A slide of a presentation.
    pub fn slide(slide: u32) -> Self {
        Self { slide: Some(slide), ..Self::default() }
    }

    /// Lines of a text.
    pub fn lines(first: u32, last: u32) -> Self {
        Self { line_first: Some(first), line_last: Some(last), ..Self::default() }
    }

    /// Rows of a table; `sheet` where the document has several.
    pub fn rows(sheet: Option<&str>, first: u32, last: u32) -> Self {
        Self { sheet: sheet.map(str::to_owned), row_first: Some(first), row_last: Some(last), ..Self::default() }
    }

    /// An element of a structured file, by its path.
    pub fn xpath(path: impl Into<String>) -> Self {
        Self { xpath: Some(path.into()), ..Self::default() }
    }

    /// Returns the smallest place that covers `self` and `other`, or `None` when they stand in different parts, sheets or
    /// slides.
    pub fn union(&self, other: &Self) -> Option<Self> {
        if self.part != other.part || self.sheet != other.sheet || self.slide != other.slide {
            return None;
        }
        let (page, page_last) = span(self.page, self.page_last, other.page, other.page_last);
        let (row_first, row_last) = span(self.row_first, self.row_last, other.row_first, other.row_last);
        let (line_first, line_last) = span(self.line_first, self.line_last, other.line_first, other.line_last);
        let page_last = page_last.filter(|last| Some(*last) != page);
        let xpath = common_path(self.xpath.as_deref(), other.xpath.as_deref());
        Some(Self { page, page_last, row_first, row_last, line_first, line_last, xpath, ..self.clone() })
    }
}

/// The element that holds both; none where there is no such element, or only one of the two has a path.
fn common_path(a: Option<&str>, b: Option<&str>) -> Option<String> {
    let steps: Vec<&str> = a?.split('/').zip(b?.split('/')).take_while(|(a, b)| a == b).map(|(step, _)| step).collect();
    let path = steps.join("/");
    (!path.is_empty()).then_some(path)
}

fn span(
    a_first: Option<u32>,
    a_last: Option<u32>,
    b_first: Option<u32>,
    b_last: Option<u32>,
) -> (Option<u32>, Option<u32>) {
    let first = [a_first, b_first].into_iter().flatten().min();
    let last = [a_first, a_last, b_first, b_last].into_iter().flatten().max();
    (first, last)
}

fn range(f: &mut fmt::Formatter<'_>, one: &str, first: u32, last: Option<u32>) -> fmt::Result {
    match last {
        Some(last) if last > first => write!(f, "{one}s {first}–{last}"),
        _ => write!(f, "{one} {first}"),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(part) = &self.part {
            write!(f, "part {part}")?;
            separator = ", ";
        }
        if let Some(page) = self.page {
            f.write_str(separator)?;
            range(f, "page", page, self.page_last)?;
            separator = ", ";
        }
        if let Some(slide) = self.slide {
            write!(f, "{separator}slide {slide}")?;
            separator = ", ";
        }
        if let Some(sheet) = &self.sheet {
            write!(f, "{separator}sheet {sheet}")?;
            separator = ", ";
        }
        if let Some(row) = self.row_first {
            f.write_str(separator)?;
            range(f, "row", row, self.row_last)?;
            separator = ", ";
        }
        if let Some(line) = self.line_first {
            f.write_str(separator)?;
            range(f, "line", line, self.line_last)?;
            separator = ", ";
        }
        if let Some(path) = &self.xpath {
            write!(f, "{separator}{path}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_well() {
        assert_eq!(Place::page(3).to_string(), "page 3");
        assert_eq!(Place::rows(Some("Preise"), 2, 40).to_string(), "sheet Preise, rows 2–40");
        assert_eq!(Place::lines(10, 10).to_string(), "line 10");
        let part = Place { part: Some("rechnung.pdf".into()), ..Place::page(2) };
        assert_eq!(part.to_string(), "part rechnung.pdf, page 2");
        assert_eq!(Place::xpath("/BMECAT/T_NEW_CATALOG/PRODUCT[2]").to_string(), "/BMECAT/T_NEW_CATALOG/PRODUCT[2]");
        assert_eq!(Place::default().to_string(), "");
    }

    #[test]
    fn the_place_of_two_elements_is_the_one_that_holds_both() {
        let place = |path: &str| Place::xpath(path);
        let both = place("/A/B[1]/C").union(&place("/A/B[1]/D[2]")).unwrap();
        assert_eq!(both, place("/A/B[1]"));
        assert_eq!(place("/A/B[1]/C").union(&place("/A/B[12]/C")).unwrap(), place("/A"));
        assert_eq!(place("/A").union(&Place::default()).unwrap(), Place::default());
    }

    #[test]
    fn places_join_only_within_one_part() {
        let pages = Place::page(3).union(&Place::page(4)).unwrap();
        assert_eq!(pages.to_string(), "pages 3–4");
        assert_eq!(Place::page(3).union(&Place::page(3)).unwrap(), Place::page(3));
        assert_eq!(Place::lines(1, 2).union(&Place::lines(5, 9)).unwrap(), Place::lines(1, 9));
        assert_eq!(Place::rows(Some("A"), 1, 2).union(&Place::rows(Some("B"), 1, 2)), None);
    }
}
