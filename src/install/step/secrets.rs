//! Token and password: generated here, once, and never shown by any event.

use base::{CustomerLayout, Secret};
use plan::journal::Evidence;

use crate::act::Probe;
use crate::{Error, password};

pub(super) fn probe(customer: &CustomerLayout) -> Probe {
    let has = |path: std::path::PathBuf| Secret::read(&path).is_ok();
    if has(customer.token()) && has(customer.api_token()) && has(customer.password_hash()) {
        Probe::Holds(Evidence::default())
    } else {
        Probe::Missing
    }
}

pub(super) async fn apply(customer: &CustomerLayout) -> Result<Evidence, Error> {
    for path in [customer.token(), customer.api_token()] {
        // What is there is kept: running roles know it.
        if Secret::read(&path).is_err() {
            let secret = Secret::generate().map_err(Error::file("generate", &path))?;
            secret.write(&path).map_err(Error::file("write", &path))?;
        }
    }
    let customer = customer.clone();
    let made = tokio::task::spawn_blocking(move || password::make(&customer)).await;
    made.map_err(|error| Error::Password(error.into()))??;
    Ok(Evidence::default())
}
