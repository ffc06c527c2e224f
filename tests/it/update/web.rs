//! Releases from a web server: followed, broken off, attacked.

use std::{fs, path::Path};

use base::{Clock, Seed};
use bundle::release::{Lifetimes, publish, sign};
use serde_json::Value;

use super::{Vendor, installed, pids, server::Server, serves};
use crate::product::Product;

/// A channel of the good release, published into a folder and served.
pub struct Published {
    dir: std::path::PathBuf,
    pub server: Server,
}

impl Published {
    pub fn new(product: &Product, bundle: &str) -> Self {
        let dir = product.folder("channel");
        publish(Path::new(bundle), &dir, None).unwrap();
        Self { server: Server::start(&dir), dir }
    }

    /// Bytes of all its blobs which are no models: those are here already.
    pub fn new_bytes(&self) -> u64 {
        let release: Value = serde_json::from_slice(&fs::read(self.release()).unwrap()).unwrap();
        let blobs = release["blobs"].as_array().unwrap();
        blobs.iter().filter(|blob| blob["kind"] != "model").map(|blob| blob["size_bytes"].as_u64().unwrap()).sum()
    }

    fn release(&self) -> std::path::PathBuf {
        fs::read_dir(self.dir.join("targets")).unwrap().next().unwrap().unwrap().path()
    }

    fn timestamp(&self) -> std::path::PathBuf {
        self.dir.join("metadata/timestamp.json")
    }
}

/// Signs once more, so many days ago.
fn sign_again(vendor: &Vendor, bundle: &str, days_ago: i64) {
    let keys = [Seed::read(Path::new(&vendor.path("release.key"))).unwrap()];
    let (trust, then) = (vendor.path("trust"), Clock::system().now().plus_days(-days_ago));
    let signed = sign(Path::new(&trust), Path::new(bundle), &keys, Lifetimes::default(), then);
    tokio::runtime::Runtime::new().unwrap().block_on(signed).unwrap();
}

#[test]
fn a_web_channel_is_followed_and_attacks_change_nothing() {
    let (product, vendor) = (installed(), Vendor::the());
    let good = vendor.good();
    sign_again(vendor, &good, 0);
    let channel = Published::new(&product, &good);
    product.ok(&["update", "configure", "--channel", &channel.server.address, "--policy", "approve"]);
    let before = pids(&product);
    let first = fs::read(channel.timestamp()).unwrap();

    sign_again(vendor, &good, 0);
    publish(Path::new(&good), &channel.dir, None).unwrap();
    assert_eq!(product.json(&["update", "check"])["offered"], "0.2.0");
    let second = fs::read(channel.timestamp()).unwrap();
    // What was seen is never taken back.
    fs::write(channel.timestamp(), &first).unwrap();
    refused(&product, 10);
    // One character of the signature.
    let mut forged: Value = serde_json::from_slice(&second).unwrap();
    let signature = forged["signatures"][0]["sig"].as_str().unwrap().to_owned();
    let other = if signature.starts_with('0') { '1' } else { '0' };
    forged["signatures"][0]["sig"] = format!("{other}{}", &signature[1..]).into();
    fs::write(channel.timestamp(), forged.to_string()).unwrap();
    refused(&product, 9);
    // Frozen: newer than what was seen, but its days are over.
    sign_again(vendor, &good, 400);
    publish(Path::new(&good), &channel.dir, None).unwrap();
    refused(&product, 11);
    sign_again(vendor, &good, 0);
    publish(Path::new(&good), &channel.dir, None).unwrap();
    assert_eq!(pids(&product), before, "a service was touched");
    assert_eq!(channel.server.take_sent_bytes(), 0, "a blob was fetched for what is not trusted");

    // The line is cut; the same command goes on.
    let all = channel.new_bytes();
    channel.server.cut_at(all * 2 / 5);
    let cut = product.run(&["update", "--yes", "--json"]).expect(7);
    assert!(cut.out.contains("goes on where it stopped"), "{}", cut.out);
    let first_bytes = channel.server.take_sent_bytes();
    assert_eq!(pids(&product), before, "a service was touched");
    channel.server.mend();
    let done = product.json(&["update", "--yes"]);
    assert_eq!(done["attempt"]["stage"], "finished", "{done}");
    let second_bytes = channel.server.take_sent_bytes();
    println!("of {all} bytes {first_bytes} came before the line was cut, {second_bytes} after it");
    assert!(first_bytes >= all * 2 / 5 && second_bytes < all * 4 / 5, "{first_bytes} and {second_bytes} of {all}");
    println!("update: the console was away for {} ms", done["attempt"]["downtime_ms"]);
    assert!(done["attempt"]["downtime_ms"].as_u64().unwrap() < 60_000, "{done}");
    serves(&product, "0.2.0");
    assert!(!product.root.join("var/update/staging").exists(), "the bundle was left behind");
}

fn refused(product: &Product, code: i32) {
    product.run(&["update", "check"]).expect(code);
    product.run(&["update", "--yes", "--json"]).expect(code);
    // What the agent would do.
    product.run(&["update", "--unattended", "--json"]).expect(code);
}
