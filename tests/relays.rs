// SPDX-License-Identifier: MPL-2.0

//! `socketioclientsink` and `socketioclientsrc` at relays as people run them, with
//! streamers and viewers as people write them: the programs in `tests/peers`.
//!
//! Pictures are compared bit for bit. Nothing is expected within some time.
#![cfg(feature = "web")]

mod common;

mod relays {
    /// Runs tests at each kind of relay.
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
