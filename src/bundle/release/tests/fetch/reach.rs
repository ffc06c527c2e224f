//! How a channel is reached, and what of it is taken at all.

use super::*;
use crate::ProxyAddress;

#[tokio::test]
async fn a_stick_cannot_go_behind_what_the_network_showed() {
    let vendor = Vendor::new().await;
    let (old, _) = vendor.offers("1.0.0", 1000).await;
    let (new, _) = vendor.offers("1.1.0", 1000).await;
    let server = Server::folder(&new, |_, _| Answer::Well);
    let options = VerifyOptions { seen: Some(vendor.path("seen")), ..vendor.options() };
    check(&old, &options).await.unwrap();
    vendor.channel(&server.address).refresh().await.unwrap();
    assert_eq!(check(&old, &options).await.unwrap_err().exit(), Exit::Older);
    let stick = vendor.channel(old.to_str().unwrap());
    assert_eq!(stick.refresh().await.unwrap_err().exit(), Exit::Older);
    let downgrade = vendor.channel_with(&server.address, |options| options.installed = Some("2.0.0".parse().unwrap()));
    assert!(matches!(downgrade.refresh().await, Err(ReleaseError::Rollback { .. })));
    let same = vendor.channel_with(&server.address, |options| options.installed = Some("1.1.0".parse().unwrap()));
    assert!(!same.refresh().await.unwrap().facts(&Present::default()).is_newer);
}

#[tokio::test]
async fn expired_metadata_is_refused_from_a_server_and_a_warning_in_a_folder() {
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 1000).await;
    let server = Server::folder(&bundle, |_, _| Answer::Well);
    let late = |options: &mut ChannelOptions| options.now = now().plus_days(400);
    let refused = vendor.channel_with(&server.address, late).refresh().await.unwrap_err();
    assert_eq!(refused.exit(), Exit::Expired);
    let folder = vendor.channel_with(bundle.to_str().unwrap(), late);
    assert!(folder.refresh().await.unwrap().facts(&Present::default()).is_expired);
    fetch(&folder, &vendor.path("out")).await.unwrap();
    // The clock is set back, and still it is late.
    assert_eq!(vendor.channel(&server.address).refresh().await.unwrap_err().exit(), Exit::Expired);
    let strict = vendor.channel_with(bundle.to_str().unwrap(), |options| options.expiry = Some(Expiry::Refuse));
    assert_eq!(strict.refresh().await.unwrap_err().exit(), Exit::Expired);
}

#[tokio::test]
async fn the_rate_is_kept_by_all_downloads_together() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 300_000).await;
    let server = Server::folder(&bundle, |_, _| Answer::Well);
    for (index, address) in [server.address.as_str(), bundle.to_str().unwrap()].into_iter().enumerate() {
        let channel = vendor.channel_with(address, |options| options.web.limit_rate = Some(1_000_000));
        let begun = std::time::Instant::now();
        fetch(&channel, &vendor.path(&format!("out-{index}"))).await.unwrap();
        let (least, took) = (release.size_bytes() as f64 / 1_000_000.0, begun.elapsed().as_secs_f64());
        assert!(took >= least, "{took} s for what takes {least} s");
    }
}

#[tokio::test]
async fn only_what_was_configured_is_asked() {
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 1000).await;
    let elsewhere = Server::folder(&bundle, |_, _| Answer::Well);
    let to = elsewhere.address.clone();
    let server = Server::folder(&bundle, move |_, asked| Answer::Redirect(format!("{to}/{}", asked.path)));
    let refused = vendor.channel(&server.address).refresh().await.unwrap_err();
    assert!(refused.to_string().contains("sends on to another one"), "{refused}");
    assert!(elsewhere.asked().is_empty());
    let open = |address: &str| {
        let options = ChannelOptions { roots: Vec::new(), ..vendor.channel(bundle.to_str().unwrap()).options.clone() };
        Channel::open(address, options).unwrap_err()
    };
    for address in ["http://updates.example/stable", "/nowhere/at/all", "https://"] {
        assert_eq!(open(address).exit(), Exit::Usage, "{address}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_instead() {
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 1000).await;
    let content = files_of(&bundle);
    let proxy = Server::start(move |path| content(path.strip_prefix("stable/")?), |_, _| Answer::Well);
    let address = proxy.address.replace("http://", "http://name:geheim@");
    let through = |options: &mut ChannelOptions| options.web.proxy = Some(ProxyAddress::parse(&address).unwrap());
    // Nobody listens there: only the proxy can have answered.
    let channel = vendor.channel_with("http://127.0.0.1:9/stable", through);
    fetch(&channel, &vendor.path("out")).await.unwrap();
    assert_same(&vendor.path("out"), &bundle);
    assert!(!format!("{channel:?}").contains("geheim"));
    assert!(ProxyAddress::parse("socks5://x:1").is_err() && ProxyAddress::parse(&address).unwrap().has_password());
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 1000).await;
    let (certificate, key) = (vendor.path("ca.pem"), vendor.path("ca.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:false",
        ])
        .args(["-out".as_ref(), certificate.as_os_str(), "-keyout".as_ref(), key.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).unwrap())
        .unwrap();
    let server = Server::secure(files_of(&bundle), tls);
    let refused = vendor.channel(&server.address).refresh().await.unwrap_err();
    assert_eq!(refused.exit(), Exit::Unavailable, "{refused}");
    let pem = fs::read(&certificate).unwrap();
    let channel = vendor.channel_with(&server.address, |options| options.web.authorities = vec![pem]);
    fetch(&channel, &vendor.path("out")).await.unwrap();
    assert_same(&vendor.path("out"), &bundle);
    let none = ChannelOptions {
        web: WebOptions { authorities: vec![b"none".to_vec()], ..quick() },
        ..channel.options.clone()
    };
    assert_eq!(Channel::open(&server.address, none).unwrap_err().exit(), Exit::Usage);
}

#[tokio::test]
async fn a_rotated_root_travels_with_the_bundle() {
    let vendor = Vendor::new().await;
    vendor.offers("1.0.0", 1000).await;
    let next: Vec<Seed> = (0..2).map(|_| Seed::generate().unwrap()).collect();
    let keys = RootKeys { root: &next, threshold: 2, release: &next };
    rotate(&vendor.trust(), &vendor.root_keys[..2], keys, Lifetimes::default(), now()).await.unwrap();
    let bundle = vendor.build("rotated", "1.1.0", b"b");
    sign(&vendor.trust(), &bundle, &next, Lifetimes::default(), now()).await.unwrap();
    // This machine trusts the second root; the next one the folder is carried to knows only the first.
    let channel = vendor.channel_with(bundle.to_str().unwrap(), |options| options.roots = vec![vendor.root(2)]);
    let out = vendor.path("out");
    fetch(&channel, &out).await.unwrap();
    check(&out, &vendor.options()).await.unwrap();
}
