use access::{PasswordHash, generate_password};
use base::{CustomerLayout, Secret};

use crate::Error;

/// Makes the console's first password and its hash.
///
/// The password is written before the hash: killed in between, the next run hashes the same password, and nobody is
/// locked out of a console whose password was never shown.
pub(crate) fn make(customer: &CustomerLayout) -> Result<(), Error> {
    if PasswordHash::read(&customer.password_hash()).is_ok() {
        return Ok(());
    }
    let first = customer.first_password();
    let password = match Secret::read(&first) {
        Ok(password) => password,
        Err(_) => {
            let password = generate_password().map_err(|error| Error::Password(error.into()))?;
            password.write(&first).map_err(Error::file("write", &first))?;
            password
        }
    };
    let hash = PasswordHash::of(&password).map_err(|error| Error::Password(error.into()))?;
    hash.write(&customer.password_hash()).map_err(|error| Error::Password(error.into()))
}

/// Returns the generated console password and removes its file: it is shown once. `None` when it was shown before.
///
/// # Errors
/// [`Error::File`] when the file cannot be removed; the password is then not returned, so that it is not shown twice.
pub fn take_first_password(customer: &CustomerLayout) -> Result<Option<Secret>, Error> {
    let path = customer.first_password();
    let Ok(password) = Secret::read(&path) else { return Ok(None) };
    std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
    Ok(Some(password))
}
