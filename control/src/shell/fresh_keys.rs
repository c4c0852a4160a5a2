//! A key that was made this moment signs tokens at once: before a token of an unknown key goes to the core, the store is
//! looked at again.
//!
//! Input: frames of sessions on their way to the core. Output: requests to the key watch, which looks at most once in
//! [`super::keys::LOOK_INTERVAL_MIN`] however many ask, so strangers' tokens cost the store little. Trusts nothing in the
//! frame: what it says only decides whether to look.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// A store that does not answer in this time is not waited for: the known keys decide.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Asks the key watch; cloned for each session.
#[derive(Clone, Debug)]
pub struct FreshKeys {
    /// SIDs of the keys that the core knows.
    pub known: watch::Receiver<HashSet<String>>,
    /// Answered when the core knows what the store holds.
    pub looks: mpsc::Sender<oneshot::Sender<()>>,
}

#[derive(Deserialize)]
struct Frame {
    payload: Listen,
}

#[derive(Deserialize)]
struct Listen {
    token: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
}

impl FreshKeys {
    /// Returns when the core knows every key that there was when it was called, as far as `frame` asks for one.
    pub async fn learn(&self, frame: &str) {
        let Some(sid) = issuer(frame) else { return };
        if self.known.borrow().contains(&sid) {
            return;
        }
        let (reply, looked) = oneshot::channel();
        if self.looks.try_send(reply).is_ok() {
            let _ = timeout(LOOK_MAX, looked).await;
        }
    }
}

/// The key that a token in this frame says it is signed with.
fn issuer(frame: &str) -> Option<String> {
    if !frame.contains("\"listen\"") {
        return None;
    }
    let Frame { payload: Listen { token } } = serde_json::from_str(frame).ok()?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.iss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::input::Input;
    use crate::core::keys::Account;
    use crate::shell::core_loop::Arrival;
    use crate::shell::data_dir::DataDir;
    use crate::shell::keys::KeyWatch;
    use crate::shell::store::{SqliteStore, Store, StoredKey};
    use crate::shell::token::{Grants, Signer};
    use serde_json::json;

    fn listen(token: &str) -> String {
        json!({"type": "listen", "payload": {"token": token}, "version": "1.6"}).to_string()
    }

    #[test]
    fn key_is_read_from_listen_frames_only() {
        let token = Signer::dev().mint(&Grants::default(), 1000, 60, None).expect("signed");
        assert_eq!(issuer(&listen(&token)).as_deref(), Some(crate::shell::token::DEV_KEY_SID));
        assert_eq!(issuer(&listen(&token).replace("listen", "invite")), None);
        for bad in ["", "a.b.c", "..", "a"] {
            assert_eq!(issuer(&listen(bad)), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn key_made_this_moment_is_known_to_the_core_before_the_frame_that_needs_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = DataDir::open(dir.path()).expect("ours");
        let store = SqliteStore::open(&dir).await.expect("a store");
        let (_, watch) = KeyWatch::start(&store, false).await.expect("watch");
        let fresh_keys = watch.fresh_keys();
        let (arrivals, mut arriving) = mpsc::channel(8);
        tokio::spawn(watch.run(arrivals));
        let other = SqliteStore::open(&dir).await.expect("another process");
        let account = Account { sid: "AC1".into(), name: String::new(), suspended: false };
        other.add_account(&account, 1).await.expect("added");
        let key = StoredKey {
            sid: crate::shell::token::DEV_KEY_SID.replace('1', "2"),
            account_sid: "AC1".into(),
            algorithm: "HS256".into(),
            material: zeroize::Zeroizing::new("secret".into()),
            label: String::new(),
            revoked: false,
            created_unix_ms: 1,
        };
        other.add_key(&key).await.expect("added");
        let signer = Signer::stored(&store.keys().await.expect("read").table().keys[&key.sid]).expect("a secret");
        fresh_keys.learn(&listen(&signer.mint(&Grants::default(), 1, 60, None).expect("signed"))).await;
        // The watch may have looked between the account and the key, too.
        let told = std::iter::from_fn(|| arriving.try_recv().ok());
        let Some(Arrival::Input(Input::KeysChanged(table))) = told.last() else { panic!("the core was not told") };
        assert!(table.keys.contains_key(&key.sid) && fresh_keys.known.borrow().contains(&key.sid));
    }
}
