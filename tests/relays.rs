// SPDX-License-Identifier: MPL-2.0

//! `socketioclientsink` and `socketioclientsrc` with the relays, senders and viewers that people
//! write: the programs in `tests/peers`.
//!
//! JPEGs are compared byte for byte. The tests assert no durations.
#![cfg(feature = "web")]

mod common;

mod relays {
    /// Runs tests with each kind of relay.
    macro_rules! at_each_relay {
        ($($test:ident)*) => {
            at_each_relay! { flask Flask: $($test)* }
            at_each_relay! { python_socketio PythonSocketio: $($test)* }
            at_each_relay! { node Node: $($test)* }
        };
        ($module:ident $kind:ident: $($test:ident)*) => {
            mod $module {
                $(
                    #[test]
                    fn $test() {
                        super::$test(crate::common::relay::RelayKind::$kind);
                    }
                )*
            }
        };
    }

    mod failures;
    mod fixture;
    mod sink;
    mod source;
}
