use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct AccessArgs {
    #[command(subcommand)]
    pub verb: AccessVerb,
}

#[derive(Debug, Subcommand)]
pub enum AccessVerb {
    /// Who may ask beside the administrator, with their groups
    List,
    /// Add a person, who logs in at the console, or change the groups of one; the password is shown once
    Person {
        name: String,
        /// Groups whose documents they may read, as the file system calls them (by number where it knows no name)
        #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
        groups: Vec<String>,
    },
    /// Add a program, which shows a token at the API, or change the groups of one; the token is shown once
    Program {
        name: String,
        /// Groups whose documents it may read
        #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
        groups: Vec<String>,
    },
    /// Remove a person or a program: it ends at once
    Remove { name: String },
}

/// Whether people find only what they may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PermissionsArg {
    /// Whoever may ask may read everything
    Off,
    /// By owner, group and mode of the files, and by ACL files
    On,
}

impl From<PermissionsArg> for base::config::Permissions {
    fn from(permissions: PermissionsArg) -> Self {
        match permissions {
            PermissionsArg::Off => Self::Off,
            PermissionsArg::On => Self::On,
        }
    }
}
