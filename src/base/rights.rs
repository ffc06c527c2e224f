use serde::{Deserialize, Serialize};

/// What somebody may read.
///
/// A document names its readers: groups by name or number, people as `user:NAME`, and everybody as `*`. A document without
/// readers is for administrators only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rights {
    /// Everything: an administrator's, and everybody's where no permissions are kept.
    #[default]
    All,
    /// What these names may read, and what everybody may.
    Of(Vec<String>),
}

impl Rights {
    /// The reader that stands for everybody.
    pub const EVERYBODY: &str = "*";

    /// Returns the rights of somebody with these groups, and of `user:NAME` where there is a name.
    pub fn of(groups: &[String], user: Option<&str>) -> Self {
        let mut names = groups.to_vec();
        names.extend(user.map(|user| format!("user:{user}")));
        Self::Of(names)
    }

    /// Returns whether these rights hold no limit.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// Returns whether a document with these readers may be read.
    pub fn may_read(&self, readers: &[String]) -> bool {
        match self {
            Self::All => true,
            Self::Of(names) => readers.iter().any(|reader| reader == Self::EVERYBODY || names.contains(reader)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_in_common_opens_a_document() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let check = |rights: &Rights, readers: &[&str], expect: bool| {
            assert_eq!(rights.may_read(&list(readers)), expect, "{rights:?} on {readers:?}");
        };
        let anna = Rights::of(&list(&["sales"]), Some("anna"));
        check(&anna, &["hr", "sales"], true);
        check(&anna, &["user:anna"], true);
        check(&anna, &["*"], true);
        check(&anna, &["hr", "anna", "user:bob"], false);
        check(&anna, &[], false);
        check(&Rights::Of(Vec::new()), &["*"], true);
        check(&Rights::All, &[], true);
    }
}
