use std::{fs, path::PathBuf};

use base::{Clock, CustomerLayout, Exit, Layout, Secret, Slug, config::ServiceConfig};
use license::Entitlement;

use crate::{
    args::Global,
    failure::{During, Failure, Outcome},
    printer::Printer,
};

/// What the global flags say: which installation, which customer, how to print.
pub struct Context {
    pub layout: Layout,
    pub printer: Printer,
    slug: Option<Slug>,
}

impl Context {
    /// Resolves the global flags.
    pub fn new(global: &Global, printer: Printer) -> Self {
        let layout = global.root.as_ref().map_or_else(Layout::system, Layout::rooted);
        Self { layout, printer, slug: global.slug.clone() }
    }

    /// The same context for another installation.
    pub fn with_layout(&self, layout: Layout) -> Self {
        Self { layout, printer: self.printer, slug: self.slug.clone() }
    }

    /// The same context for one customer of an installation.
    pub fn with_customer(&self, slug: Slug, layout: Layout) -> Self {
        Self { layout, printer: self.printer, slug: Some(slug) }
    }

    /// Returns whether a customer must be named: there are others here.
    pub fn has_several(&self) -> bool {
        self.customers().len() > 1
    }

    /// Returns the slug that was named with `--slug`.
    pub fn slug(&self) -> Option<&Slug> {
        self.slug.as_ref()
    }

    /// Returns the customer the command is about: the one named, the only one here, or `demo` in a fresh `--root`.
    pub fn customer(&self) -> Outcome<CustomerLayout> {
        if let Some(slug) = &self.slug {
            return Ok(self.layout.customer(slug));
        }
        let mut here = self.customers();
        match (here.len(), self.layout.root()) {
            (1, _) => Ok(here.remove(0)),
            (0, Some(_)) => Ok(self.layout.customer(&Slug::from_name("demo")?)),
            (0, None) => {
                let failure = Failure::new(Exit::Usage, "nothing is installed on this machine");
                Err(failure.remedy("run `0711 install`, or name the folder of an installation with `--root DIR`"))
            }
            _ => {
                let names: Vec<_> = here.iter().map(|customer| customer.slug().to_string()).collect();
                let failure =
                    Failure::new(Exit::Usage, format!("several customers are installed: {}", names.join(", ")));
                Err(failure.remedy("name one with `--slug SLUG`"))
            }
        }
    }

    /// Returns the installed customer with its configuration, or says that there is none.
    pub fn installed(&self) -> Outcome<(CustomerLayout, ServiceConfig)> {
        let customer = self.customer()?;
        match read_config(&customer)? {
            Some(config) => Ok((customer, config)),
            None => {
                let wanted = self
                    .layout
                    .root()
                    .map_or_else(|| "this machine".to_owned(), |root| format!("`{}`", root.display()));
                Err(Failure::new(Exit::Usage, format!("nothing is installed on {wanted}")).remedy("run `0711 install`"))
            }
        }
    }

    /// Writes an act into an audit log. One that cannot be written is said, and what was done stays done.
    pub fn record(&self, log: audit::Log, entry: audit::Entry) {
        if let Err(error) = log.append(entry, Clock::system()) {
            let failure = Failure::from(error).during("this could not be written into the audit log");
            self.printer.note(format!("warning: {failure}"));
        }
    }

    fn customers(&self) -> Vec<CustomerLayout> {
        let entries = fs::read_dir(self.layout.customers_dir()).into_iter().flatten().flatten();
        let slugs = entries.filter_map(|entry| Slug::parse(entry.file_name().to_str()?).ok());
        let mut found: Vec<_> = slugs.map(|slug| self.layout.customer(&slug)).collect();
        found
            .retain(|customer| customer.plan().exists() || customer.config().exists() || customer.lakehouse().exists());
        found.sort_by(|a, b| a.slug().cmp(b.slug()));
        found
    }
}

/// Reads a customer's configuration, `None` when nothing is installed.
pub fn read_config(customer: &CustomerLayout) -> Outcome<Option<ServiceConfig>> {
    if fs::symlink_metadata(customer.config()).is_err() {
        return Ok(None);
    }
    Ok(Some(stack::service_config(customer)?))
}

/// Reads the token the roles show each other.
pub fn read_token(customer: &CustomerLayout) -> Outcome<Secret> {
    Secret::read(&customer.token()).during("cannot use the token of the services")
}

/// Returns where the Docker client of this user keeps log-ins, if it has any.
pub fn docker_config() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let usual = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    named.or(usual).map(|dir| dir.join("config.json"))
}

/// Returns the path of the running binary: the one that workers and the installation are made from.
pub fn own_binary() -> Outcome<PathBuf> {
    std::env::current_exe().during("cannot find the program's own file")
}

/// Returns where a license id is looked up: beside the program, here, and in the installation's configuration.
pub fn license_dirs(layout: &Layout) -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|binary| binary.parent().map(PathBuf::from));
    let here = std::env::current_dir().ok();
    let system = Layout::system().etc();
    beside.into_iter().chain(here).chain([layout.etc(), system]).collect()
}

/// Returns the license that counts: the installed one; where none is, the named one, or the demo license. It must be meant for this machine.
pub fn entitlement(layout: &Layout, customer: &CustomerLayout, named: Option<&str>) -> Outcome<Entitlement> {
    let roots = license::embedded_roots()?;
    let is_installed = fs::symlink_metadata(customer.license()).is_ok();
    let entitlement = match named {
        Some(_) if is_installed => {
            let failure = Failure::new(Exit::Usage, "a license is installed here, and no other counts");
            return Err(failure.remedy("leave `--license` out; `0711 install --license FILE` installs a new one"));
        }
        _ if is_installed => license::load_installed(&customer.license(), &roots)?,
        Some(id_or_path) => license::find(id_or_path, &license_dirs(layout))?.verify(&roots, Clock::system().now())?,
        None => license::verify(license::embedded_demo(), &roots, Clock::system().now())?,
    };
    entitlement.check_machine(&plan::machine_hashes(&host::machine_identity()))?;
    Ok(entitlement)
}
