//! The same repository in a bucket, against a server that speaks as much of S3 as it takes.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::*;
use crate::Access;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

const WHEN: &str = "Sun, 01 Nov 2026 02:30:00 GMT";
/// So few names a page, so that a list has several.
const PAGE: usize = 3;

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(query.replace("%2F", "/"))
}

async fn answer(State(objects): State<Objects>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if !text("authorization").starts_with("AWS4-HMAC-SHA256 Credential=KEY/") {
        return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let mut objects = objects.lock().unwrap();
    let key = uri.path().strip_prefix("/backups").unwrap().trim_start_matches('/').to_owned();
    match method {
        Method::PUT => {
            let source = text("x-amz-copy-source");
            let content = match source.trim_start_matches('/').strip_prefix("backups/") {
                Some(source) => objects[source].clone(),
                None => body.to_vec(),
            };
            objects.insert(key, content);
            ([(header::ETAG, "\"1\"")], "<CopyObjectResult><ETag>\"1\"</ETag></CopyObjectResult>").into_response()
        }
        Method::POST => {
            let body = String::from_utf8(body.to_vec()).unwrap();
            let mut xml = String::new();
            for name in body.split("<Key>").skip(1) {
                let name = name.split('<').next().unwrap();
                objects.remove(name);
                xml += &format!("<Deleted><Key>{name}</Key></Deleted>");
            }
            format!("<DeleteResult>{xml}</DeleteResult>").into_response()
        }
        Method::DELETE => {
            objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ if key.is_empty() => {
            let prefix = parameter(&uri, "prefix").unwrap_or_default();
            let after = parameter(&uri, "continuation-token").unwrap_or_default();
            let mut found = objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > after);
            let mut xml = String::new();
            let mut last = String::new();
            for (name, content) in found.by_ref().take(PAGE) {
                let size = content.len();
                let when = "2026-11-01T02:30:00.000Z";
                xml += &format!(
                    "<Contents><Key>{name}</Key><LastModified>{when}</LastModified><Size>{size}</Size><ETag>\"1\"</ETag></Contents>"
                );
                last = name.clone();
            }
            if found.next().is_some() {
                xml += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
            }
            format!("<ListBucketResult>{xml}</ListBucketResult>").into_response()
        }
        _ => {
            let Some(content) = objects.get(&key) else {
                return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response();
            };
            let meta = [(header::ETAG, "\"1\"".to_owned()), (header::LAST_MODIFIED, WHEN.to_owned())];
            let range = text("range");
            let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
                return (meta, content.clone()).into_response();
            };
            let (from, to): (usize, usize) =
                (from.parse().unwrap(), to.parse::<usize>().unwrap().min(content.len() - 1));
            let range = format!("bytes {from}-{to}/{}", content.len());
            let part = content[from..=to].to_vec();
            (StatusCode::PARTIAL_CONTENT, meta, [(header::CONTENT_RANGE, range)], part).into_response()
        }
    }
}

#[test]
fn a_bucket_holds_backups_as_a_folder_does() {
    // The first of several tests to install the provider wins; all install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let objects = Objects::default();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::disable());
    let router = router.with_state(objects.clone());
    runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });

    let world = World::new();
    let credentials = world.dir.path().join("s3.txt");
    write(&credentials, b"KEY\nSECRET\n");
    let access = Access { endpoint: Some(endpoint), credentials: credentials.clone(), ..Access::default() };
    let open = || Store::bucket("s3://backups/eaton/nightly/", &access, runtime.handle().clone());
    assert!(matches!(open(), Err(Error::KeyFile { .. })), "others may read the credentials");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    let store = open().unwrap();
    assert_eq!(Repository::find(&store).unwrap(), None);
    objects.lock().unwrap().insert("eaton/nightly-of-others/x".to_owned(), b"not ours".to_vec());
    let store = Repository::begin(store, &world.key, None, at(0)).unwrap();

    let customer = world.customer();
    let create = |day: u32| {
        let turn = Turn::take(&customer).unwrap();
        let create = Create {
            turn: &turn,
            store: store.clone(),
            key: &world.key,
            source: Source { layout: &customer, lake: Some(LakeCut { commit: 1, committed: at(day).now() }) },
            root: None,
            needs: Vec::new(),
            formats: BTreeMap::new(),
            program: "0.1.0",
            waits: false,
            accepts_older: false,
            clock: at(day),
        };
        create.run(&|_| (), &CancellationToken::new()).unwrap()
    };
    create(1);
    world.commit("c", &noise(3, 500_000));
    assert!(create(2).entry.added_bytes < 600_000);
    let prove = || verify(&store, &world.key, Depth::Everything, &|_| (), &CancellationToken::new()).unwrap();
    assert_eq!(prove().problems, []);
    world.restore_as("new", |restore| restore.store = store.clone()).unwrap();
    assert_eq!(world.restored("new"), world.expected());

    // Damage is noticed and mended as in a folder.
    let pack = objects.lock().unwrap().keys().find(|name| name.contains("/packs/")).unwrap().clone();
    objects.lock().unwrap().get_mut(&pack).unwrap()[1000] ^= 1;
    assert!(!prove().problems.is_empty());
    let refused = world.restore_as("refused", |restore| restore.store = store.clone());
    assert!(refused.is_err() && world.nothing_was_written("refused"));
    mend(&store, &world.key, &|_| (), &CancellationToken::new()).unwrap();
    create(3);
    assert_eq!(prove().problems, []);
    let keep = Keep { last: 1, ..Keep::default() };
    let prune = Prune { store: store.clone(), key: &world.key, layout: &customer, keep, is_dry: false, waits: false };
    assert_eq!(prune.run(&|_| (), &CancellationToken::new()).unwrap().removed.len(), 2);
    assert_eq!((prove().problems.len(), prove().leftovers.len()), (0, 0));
    let names: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(names.contains(&"eaton/nightly-of-others/x".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("/locks/")), "{names:?}");
}
