//! An installation that is only files: for what looks at one.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::json;

use crate::product::Product;

pub const TOKEN: &str = "3f9a1c77e0b24d5586aa90cd12ef3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c";
pub const API_TOKEN: &str = "9b8c7d6e5f40312213243546576879808a9bacbdcedfe0f10213243546576879";
pub const PASSWORD: &str = "kravel-mosit7-danuk2";
pub const DOCUMENT: &str = "Angebot Müller geheim.pdf";

/// Puts the files of an installation in place, without one, and returns its secrets.
pub fn furnish(product: &Product) -> Vec<String> {
    let customer = product.root.join("var/eaton");
    let secrets = customer.join("deployment/secrets");
    for folder in [secrets.clone(), customer.join("logs"), customer.join("ingest"), product.root.join("etc/eaton")] {
        fs::create_dir_all(folder).unwrap();
    }
    let model = json!({"name": "m", "digest": base::Digest::of(b"m"), "path": "/models/m"});
    // JSON is YAML.
    let config = json!({
        "format": 1, "customer_name": "Eaton", "slug": "eaton", "bind": "127.0.0.1", "port_base": 61_000,
        "folders": ["/srv/daten"], "chat_model": model, "embed_model": model, "max_documents": 10,
        "training_minutes": 1, "threads": 1, "console_hosts": [],
    });
    fs::write(customer.join("deployment/config.yaml"), config.to_string()).unwrap();
    for (name, secret) in [("token", TOKEN), ("api-token", API_TOKEN), ("console-password.first", PASSWORD)] {
        let path = secrets.join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let report = json!({"format": 1, "failed": 1, "reasons": {"torn": 1}, "files": [
        {"source": "/srv/daten", "path": DOCUMENT, "status": "failed", "reason": "torn"}]});
    fs::write(customer.join("ingest/report.json"), report.to_string()).unwrap();
    log(product, &format!("a file cannot be read document.source=/srv/daten document.path={DOCUMENT} reason=\"torn\""));
    log(product, "the proxy http://anna:hunter2@10.0.0.1:3128 does not answer, password=hunter2");
    [TOKEN, API_TOKEN, PASSWORD].map(str::to_owned).into()
}

/// The log of one role.
pub fn log_file(product: &Product) -> PathBuf {
    product.root.join("var/eaton/logs/ingest.log")
}

/// Adds a line to it, younger than any age that is asked for.
pub fn log(product: &Product, text: &str) {
    let before = fs::read_to_string(log_file(product)).unwrap_or_default();
    fs::write(log_file(product), format!("{before}2999-01-01T00:00:00.000001Z  INFO {text}\n")).unwrap();
}
