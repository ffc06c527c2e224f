use std::{fs, io};

use base::{Clock, CustomerLayout, Seed, dsse::PrivateKey};

use crate::{Act, Entry, Error, Log, Who};

/// Returns the key an installation signs its reports, its evidence and its audit log with. It is made when there is none, and that is
/// recorded, with its public half.
///
/// # Errors
/// [`Error::Key`], [`Error::File`], and those of [`Log::append`].
pub fn installation_key(customer: &CustomerLayout, clock: Clock) -> Result<PrivateKey, Error> {
    let path = customer.report_key();
    if fs::symlink_metadata(&path).is_err() {
        let secrets = customer.secrets();
        base::file::private_dir(&secrets).map_err(Error::file("make folder", &secrets))?;
        let aside = tempfile::tempdir_in(&secrets).map_err(Error::file("write in", &secrets))?;
        let own = aside.path().join("key");
        Seed::generate().and_then(|seed| seed.write_new(&own)).map_err(Error::Key)?;
        // It is whole when it gets its name.
        match fs::hard_link(&own, &path) {
            Ok(()) => {
                let public = read(customer)?.public();
                let entry = Entry::new(Who::this_process(), Act::Key).object(public.hex());
                Log::customer(customer).append(entry.detail(format!("key {}", public.id())), clock)?;
            }
            // Of two who make one at the same time, the second takes the first one's.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("write", &path)(error)),
        }
    }
    read(customer)
}

fn read(customer: &CustomerLayout) -> Result<PrivateKey, Error> {
    Ok(PrivateKey::of(&Seed::read(&customer.report_key()).map_err(Error::Key)?))
}
