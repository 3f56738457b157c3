//! The W3C DID document, rendered from an entry and never stored.

use serde::Serialize;

use crate::device::Device;
use crate::did::Did;
use crate::entry::Entry;
use crate::multikey::Multikey;
use crate::service::ServiceKind;

/// The contexts of every document: DID Core's, and that of Multikey.
pub const CONTEXTS: [&str; 2] = ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];

/// A DID document (W3C DID Core §5). Empty lists are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// [`CONTEXTS`].
    #[serde(rename = "@context")]
    pub context: [&'static str; 2],
    /// The identifier. There is no `controller`: an identity is controlled by nobody else.
    pub id: Did,
    /// Every key: `#control-0`, `#device-1`, `#device-1-signal`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verification_method: Vec<VerificationMethod>,
    /// The device keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authentication: Vec<String>,
    /// The device keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assertion_method: Vec<String>,
    /// The Signal identity keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_agreement: Vec<String>,
    /// The control keys where one is enough. Where several must sign the list is left out, since
    /// a reader would take each of them to be enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capability_invocation: Vec<String>,
    /// The services: `#service-0` and on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service: Vec<ServiceEntry>,
}

/// A verification method (W3C DID Core §5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationMethod {
    /// The DID and a fragment.
    pub id: String,
    /// `Multikey`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The DID.
    pub controller: Did,
    /// The key, as [`Multikey`] writes it.
    pub public_key_multibase: String,
}

/// A service (W3C DID Core §5.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntry {
    /// The DID and a fragment.
    pub id: String,
    /// `ZynkRelay` or `LinkedDomains`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The URL.
    pub service_endpoint: String,
}

impl Document {
    /// The document of `did` when the state holds `entry` under it. A deactivated identity has
    /// its `id` and no key.
    #[must_use]
    pub fn render(did: &Did, entry: &Entry) -> Self {
        let mut document = Self {
            context: CONTEXTS,
            id: *did,
            verification_method: Vec::new(),
            authentication: Vec::new(),
            assertion_method: Vec::new(),
            key_agreement: Vec::new(),
            capability_invocation: Vec::new(),
            service: Vec::new(),
        };
        if entry.is_deactivated() {
            return document;
        }
        for (place, key) in entry.control.keys.iter().enumerate() {
            let id = document.method(&format!("control-{place}"), Multikey::Ed25519(*key));
            if entry.control.threshold == 1 {
                document.capability_invocation.push(id);
            }
        }
        for device in &entry.devices {
            document.device(device);
        }
        for (place, service) in entry.services.iter().enumerate() {
            let kind = match service.kind {
                ServiceKind::Relay => "ZynkRelay",
                ServiceKind::Domain => "LinkedDomains",
            };
            let (id, service_endpoint) = (format!("{did}#service-{place}"), service.endpoint.to_string());
            document.service.push(ServiceEntry { id, kind, service_endpoint });
        }
        document
    }

    fn device(&mut self, device: &Device) {
        let id = self.method(&format!("device-{}", device.id), Multikey::Ed25519(device.key));
        self.authentication.push(id.clone());
        self.assertion_method.push(id);
        let signal = Multikey::X25519(device.signal.identity_key.x25519());
        let id = self.method(&format!("device-{}-signal", device.id), signal);
        self.key_agreement.push(id);
    }

    /// Adds a verification method and gives its id.
    fn method(&mut self, fragment: &str, key: Multikey) -> String {
        let id = format!("{}#{fragment}", self.id);
        let public_key_multibase = key.to_string();
        self.verification_method.push(VerificationMethod { id: id.clone(), kind: "Multikey", controller: self.id, public_key_multibase });
        id
    }
}

#[cfg(test)]
mod tests;
