//! Names of things on both sides of the border. All are chosen by control except [`Generation`] and [`WorkerId`].

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// One side of a call. Never reused by a control plane, nor by its successors on the same node.
    LegId, u64
);
id!(
    /// What joins legs.
    BridgeId, u64
);
id!(
    /// All legs with one key are placed on one worker, that of the first.
    CallKey, u64
);
id!(
    /// Numbers the commands of one attachment.
    CommandId, u64
);
id!(
    /// Drawn at random when a process starts; tells a restarted peer from a reconnected one.
    Generation, u64
);
id!(
    /// Index of a worker, from 0.
    WorkerId, u16
);
