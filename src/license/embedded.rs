//! What is compiled in: the roots, the demo license and the example. The list is written by hand; adding a root is an
//! edit here and a review.

use crate::{Error, Root, TrustRoots};

const ROOTS: &[&str] = &[include_str!("../../licenses/trust/demo.yaml")];

const DEMO: &[u8] = include_bytes!("../../licenses/demo.license");

const LICENSES: &[(&str, &[u8])] =
    &[("DEMO", DEMO), ("ENTERPRISE-EATON-2025", include_bytes!("../../licenses/ENTERPRISE-EATON-2025.license"))];

/// Returns the license roots of this program.
///
/// An error means the program was built with a broken root: nothing is trusted then.
pub fn embedded_roots() -> Result<TrustRoots, Error> {
    let roots: Result<Vec<Root>, Error> = ROOTS.iter().map(|text| Root::parse(text)).collect();
    TrustRoots::new(roots?)
}

/// Returns the demo license.
pub fn embedded_demo() -> &'static [u8] {
    DEMO
}

/// Returns a license that came with the program.
pub(crate) fn by_id(id: &str) -> Option<&'static [u8]> {
    LICENSES.iter().find(|(name, _)| *name == id).map(|(_, bytes)| *bytes)
}
