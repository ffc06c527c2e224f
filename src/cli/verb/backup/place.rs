use std::{io::IsTerminal, path::PathBuf, sync::Arc};

use ::backup::{Access, Bucket, Memory, Repository, RepositoryKey, Schedule, Store};
use base::{CustomerLayout, Exit, Secret};
use dialoguer::{Password, theme::ColorfulTheme};
use tokio::runtime::Handle;

use super::blocking;
use crate::{
    args::PlaceArgs,
    context::Context,
    failure::{Failure, Outcome},
    wizard,
};

/// Where backups are, and what was given to open them.
pub struct Place {
    name: String,
    access: Option<Access>,
    key_file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    /// The customer of this installation, where there is one: its keys and what is remembered.
    customer: Option<CustomerLayout>,
}

impl Place {
    /// Finds the place: the one named, else the scheduled one, else that of the last backup. Nothing is opened.
    pub fn find(context: &Context, args: &PlaceArgs) -> Outcome<Self> {
        let customer = context.customer().ok();
        let scheduled = match &customer {
            Some(customer) => Schedule::read(customer)?,
            None => None,
        };
        let memory = customer.as_ref().and_then(|customer| Memory::read(customer).ok());
        let is_scheduled = |name: &str| scheduled.as_ref().is_some_and(|scheduled| scheduled.to == name);
        let name = args.place.clone().or_else(|| scheduled.as_ref().map(|scheduled| scheduled.to.clone()));
        let name = name.or_else(|| memory.as_ref()?.last_place().map(str::to_owned));
        let Some(name) = name else {
            let failure = Failure::new(Exit::Usage, "it is not known where the backups are");
            return Err(failure.remedy("name a folder with `--to DIR`, or a bucket with `--to s3://BUCKET/PREFIX`"));
        };
        let given = args.s3_credentials.as_ref().map(|credentials| Access {
            endpoint: args.s3_endpoint.clone(),
            region: args.s3_region.clone(),
            credentials: absolute(credentials),
            ca: args.s3_ca.as_deref().map(absolute),
        });
        let access = given.or_else(|| scheduled.clone().filter(|_| is_scheduled(&name)).and_then(|it| it.s3));
        if Bucket::is_meant(&name) && access.is_none() {
            let failure = Failure::new(Exit::Usage, format!("nothing is known of how to reach `{name}`"));
            return Err(failure.remedy(
                "add `--s3-credentials FILE` (access key and secret, one a line, mode 0600) and, but for Amazon, `--s3-endpoint URL`",
            ));
        }
        let (key_file, passphrase_file) = (args.key_file.clone(), args.passphrase_file.clone());
        Ok(Self { name, access, key_file, passphrase_file, customer })
    }

    pub fn access(&self) -> Option<&Access> {
        self.access.as_ref()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is remembered of backups here.
    pub fn memory(&self) -> Option<Memory> {
        Memory::read(self.customer.as_ref()?).ok()
    }

    /// Opens the place, whatever is there.
    pub fn store(&self) -> Outcome<Store> {
        Ok(match &self.access {
            Some(access) if Bucket::is_meant(&self.name) => Store::bucket(&self.name, access, Handle::current())?,
            _ => Store::folder(PathBuf::from(&self.name))?,
        })
    }

    /// Opens the place of backups that are there, and finds their key.
    pub async fn open(&self, context: &Context) -> Outcome<(Arc<Store>, RepositoryKey)> {
        let store = Arc::new(self.store()?);
        let key = match self.given(&store).await? {
            Some(key) => key,
            None => self.kept_or_asked(context, &store).await?,
        };
        Ok((store, key))
    }

    /// Returns the key a file gives, or a passphrase in a file opens.
    async fn given(&self, store: &Arc<Store>) -> Outcome<Option<RepositoryKey>> {
        if let Some(path) = &self.key_file {
            return Ok(Some(RepositoryKey::read(path)?));
        }
        let Some(passphrase) = self.passphrase()? else { return Ok(None) };
        let store = store.clone();
        blocking(move || Ok(Some(Repository::unlock(&store, &passphrase)?))).await
    }

    /// Reads the passphrase of a file, if one was named.
    pub fn passphrase(&self) -> Outcome<Option<Secret>> {
        let Some(path) = &self.passphrase_file else { return Ok(None) };
        let read = Secret::read(path).map_err(|source| ::backup::Error::KeyFile { source })?;
        Ok(Some(read))
    }

    async fn kept_or_asked(&self, context: &Context, store: &Arc<Store>) -> Outcome<RepositoryKey> {
        let looked = store.clone();
        let found = blocking(move || Ok(Repository::find(&looked)?)).await?;
        let Some(id) = found else {
            return Err(::backup::Error::NoRepository { place: store.place() }.into());
        };
        if let Some(customer) = &self.customer
            && let Some(key) = RepositoryKey::kept(&customer.backup_keys(), &id)?
        {
            return Ok(key);
        }
        if context.printer.json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(::backup::Error::NoKey.into());
        }
        let typed = ask("Recovery key or passphrase of the backup", false)?;
        if let Ok(key) = RepositoryKey::parse(&typed) {
            return Ok(key);
        }
        let store = store.clone();
        blocking(move || Ok(Repository::unlock(&store, &typed)?)).await
    }
}

/// Asks for a secret, unseen; twice when it is a new one.
pub fn ask(prompt: &str, is_new: bool) -> Outcome<Secret> {
    let theme = ColorfulTheme::default();
    let mut question = Password::with_theme(&theme).with_prompt(prompt);
    if is_new {
        question = question.with_confirmation("The same again", "These are not the same");
    }
    question.interact().map(Secret::new).map_err(wizard::interrupted)
}

fn absolute(path: impl AsRef<std::path::Path>) -> PathBuf {
    std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned())
}
