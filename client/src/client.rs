//! The device: its folder opened, and everything a person does with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use identity::Did;
use light::Trust;
use rpc::Chain;
use rpc::relay::PrekeyBundles;
use tendermint::Time;
use tokio::sync::{Mutex, Notify, broadcast};
use types::{ChainId, Decode, DecodeError, Encode, Hash, Millis, Reader, Text};
use uuid::Uuid;

use crate::api::Api;
use crate::device::Device;
use crate::event::Event;
use crate::store::messages::{self, MAX_PAGE};
use crate::store::{self, Passphrase, Store, outbox};
use crate::{Error, envelope};

/// How many events wait for a listener that is slow; after that it misses the oldest.
const MAX_EVENTS: usize = 1024;

/// Where a device finds its relay, and what it believes about the chain.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The gateway's address, `http` or `https`.
    pub gateway: String,
    /// The genesis, or a checkpoint.
    pub trust: Trust,
    /// How frames are written.
    pub encoding: mailbox::wire::Encoding,
}

/// Settings as the store keeps them: two texts, the trust as JSON; then 0 for JSON, 1 for CBOR.
struct Kept(Settings);

impl Encode for Kept {
    fn encode(&self, out: &mut Vec<u8>) {
        let trust = serde_json::to_string(&self.0.trust).unwrap_or_default();
        Text::<2048>::try_from(self.0.gateway.as_str()).unwrap_or_default().encode(out);
        Text::<{ 1 << 20 }>::try_from(trust.as_str()).unwrap_or_default().encode(out);
        out.push(u8::from(self.0.encoding == mailbox::wire::Encoding::Cbor));
    }
}

impl Decode for Kept {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let gateway = Text::<2048>::decode(reader)?.to_string();
        let trust = Text::<{ 1 << 20 }>::decode(reader)?;
        let trust = serde_json::from_str(&trust).map_err(|_| DecodeError::Value { what: "trust" })?;
        let encoding = if bool::decode(reader)? { mailbox::wire::Encoding::Cbor } else { mailbox::wire::Encoding::Json };
        Ok(Self(Settings { gateway, trust, encoding }))
    }
}

const SETTINGS: &str = "settings";

/// A device of a person. Cheap to clone; all clones are the same device.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    pub(crate) store: Store,
    pub(crate) api: Api,
    pub(crate) chain_id: ChainId,
    pub(crate) chain: Mutex<Chain>,
    pub(crate) encoding: mailbox::wire::Encoding,
    /// Prekey bundles that nothing was begun with yet, and the operation after which they were asked for: they are
    /// handed out once, and seldom.
    pub(crate) unused: Mutex<Option<(Hash, PrekeyBundles)>>,
    /// Rung when there is something to send.
    pub(crate) bell: Notify,
    pub(crate) events: broadcast::Sender<Event>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("folder", &self.inner.folder).finish_non_exhaustive()
    }
}

impl Client {
    /// A new device in `folder`. It has no identity yet: [`Client::register`], [`Client::link_request`] or
    /// [`Client::recover`] give it one.
    ///
    /// # Errors
    /// [`Error::StoreExists`], [`Error::Url`], [`Error::Io`], [`Error::Store`].
    pub async fn create(folder: &Path, passphrase: &Passphrase, settings: Settings) -> Result<Self, Error> {
        // An address that is none is told of before there is a store.
        Api::new(&settings.gateway, settings.trust.chain().clone())?;
        let store = Store::create(folder, passphrase).await?;
        store.put(SETTINGS, &Kept(settings.clone())).await?;
        Self::with(folder, store, settings)
    }

    /// The device in `folder`.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::WrongPassphrase`], [`Error::StoreVersion`], [`Error::StoreDamaged`], [`Error::Store`].
    pub async fn open(folder: &Path, passphrase: &Passphrase) -> Result<Self, Error> {
        let store = Store::open(folder, passphrase).await?;
        let Some(Kept(settings)) = store.get(SETTINGS).await? else { return Err(Error::StoreText { what: "setting" }) };
        Self::with(folder, store, settings)
    }

    /// From now on the device finds its relay at another address.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Store`].
    pub async fn move_to(self, gateway: &str) -> Result<Self, Error> {
        let inner = &self.inner;
        let trust = inner.chain.lock().await.trust().clone();
        let settings = Settings { gateway: gateway.to_owned(), trust, encoding: inner.encoding };
        Api::new(gateway, inner.chain_id.clone())?;
        inner.store.put(SETTINGS, &Kept(settings.clone())).await?;
        Self::with(&inner.folder, inner.store.clone(), settings)
    }

    fn with(folder: &Path, store: Store, settings: Settings) -> Result<Self, Error> {
        let chain_id = settings.trust.chain().clone();
        let api = Api::new(&settings.gateway, chain_id.clone())?;
        let chain = Chain::connect(&api.node(), settings.trust)?;
        let inner = Inner {
            folder: folder.to_owned(),
            store,
            api,
            chain_id,
            chain: Mutex::new(chain),
            encoding: settings.encoding,
            unused: Mutex::new(None),
            bell: Notify::new(),
            events: broadcast::Sender::new(MAX_EVENTS),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> &ChainId {
        &self.inner.chain_id
    }

    /// Whose device this is, and its id, once it has an identity.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], [`Error::Store`].
    pub async fn address(&self) -> Result<mailbox::Address, Error> {
        self.inner.device().await?.address()
    }

    /// Stores a message for somebody; it leaves when the device is connected. Returns its id.
    ///
    /// Nothing is asked of anybody here: whether `to` can be written to shows when it is sent.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], [`Error::Envelope`] for a text that is too long, [`Error::Store`].
    pub async fn send(&self, to: &Did, text: &str) -> Result<Uuid, Error> {
        let text = envelope::text(text)?;
        let inner = &self.inner;
        let own = inner.device().await?.address()?;
        let mut tx = inner.store.begin().await?;
        let now = now();
        let (id, conversation) = (Uuid::now_v7(), envelope::conversation(&inner.chain_id, &own.did, to));
        let last = messages::last_of(&mut tx, &own, to).await?;
        let opening = crate::sealing::opening(conversation, last.as_ref(), now, &text);
        messages::put(
            &mut tx,
            &messages::New {
                peer: *to,
                message_id: id,
                sender: own,
                outgoing: true,
                text: &text,
                sent: now,
                stored: now,
                state: crate::history::State::Queued,
                problem: None,
                integrity: None,
                opening: Some(&opening),
                commitment: Some(opening.commitment()),
                envelope: None,
            },
        )
        .await?;
        outbox::push(&mut tx, &id, to, &envelope::Content::Message { opening, text }, now).await?;
        tx.commit().await?;
        inner.bell.notify_one();
        Ok(id)
    }

    /// The newest messages, oldest first: with one identity, or with all. At most 1,000.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn history(&self, with: Option<&Did>, limit: u32) -> Result<Vec<crate::history::Message>, Error> {
        let mut tx = self.inner.store.begin().await?;
        messages::history(&mut tx, with, limit.min(MAX_PAGE)).await
    }

    /// A message by its id.
    ///
    /// # Errors
    /// [`Error::NoMessage`], [`Error::Store`].
    pub async fn message(&self, id: &Uuid) -> Result<crate::history::Message, Error> {
        let mut tx = self.inner.store.begin().await?;
        messages::by_id(&mut tx, id).await?.ok_or(Error::NoMessage(*id))
    }

    /// Marks everything that came from somebody as read; they are told when the device is connected.
    /// Returns how many messages that were.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_read(&self, with: &Did) -> Result<usize, Error> {
        let mut tx = self.inner.store.begin().await?;
        let ids = messages::mark_read(&mut tx, with).await?;
        for id in &ids {
            outbox::owe(&mut tx, with, mailbox::frame::Kind::Read, id).await?;
        }
        tx.commit().await?;
        self.inner.bell.notify_one();
        Ok(ids.len())
    }

    /// How many messages and receipts have not left yet.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn waiting(&self) -> Result<u64, Error> {
        let mut tx = self.inner.store.begin().await?;
        outbox::len(&mut tx).await
    }

    /// Closes the store.
    pub async fn close(self) {
        self.inner.api.sign_out().await;
        self.inner.store.close().await;
    }
}

impl Inner {
    /// This device; an error if it has not begun its life.
    pub(crate) async fn device(&self) -> Result<Device, Error> {
        let mut tx = self.store.begin().await?;
        self.device_in(&mut tx).await
    }

    /// This device, inside a transaction.
    pub(crate) async fn device_in(&self, tx: &mut store::Tx) -> Result<Device, Error> {
        Device::load(tx).await?.ok_or(Error::NotRegistered)
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Keeps what the chain is trusted for by now, for the next time.
    pub(crate) async fn keep_trust(&self, db: &mut sqlx::SqliteConnection, trust: Trust, gateway: String) -> Result<(), Error> {
        store::put(db, SETTINGS, &Kept(Settings { gateway, trust, encoding: self.encoding })).await
    }
}

/// This device's clock.
pub(crate) fn now() -> Millis {
    Millis::try_from(Time::now()).unwrap_or_default()
}
