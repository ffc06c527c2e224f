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
        let own = path.with_extension(format!("new-{}", std::process::id()));
        base::file::private_dir(&customer.secrets()).map_err(Error::file("make folder", customer.secrets()))?;
        Seed::generate().and_then(|seed| seed.write_new(&own)).map_err(Error::Key)?;
        let linked = fs::hard_link(&own, &path);
        fs::remove_file(&own).map_err(Error::file("remove", &own))?;
        match linked {
            Ok(()) => {
                let key = PrivateKey::of(&Seed::read(&path).map_err(Error::Key)?);
                let public = key.public();
                let entry = Entry::new(Who::this_process(), Act::Key).object(public.hex());
                Log::customer(customer).append(entry.detail(format!("key {}", public.id())), clock)?;
            }
            // Of two who make one at the same time, the second takes the first one's.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("write", &path)(error)),
        }
    }
    Ok(PrivateKey::of(&Seed::read(&path).map_err(Error::Key)?))
}
