// SPDX-License-Identifier: MPL-2.0

//! Properties of elements, each declared once: its spec, and the field that holds its value.
//!
//! A settings type lists its properties in a [`PropertyTable`]. Groups that several elements
//! share (the limits of a receiver, the delays of a client) are tables of their own, which
//! [`PropertyTable::group`] puts into the table of an element. GObject numbers properties in
//! the order of their specs, so a property is found by its number, and its name stands only in
//! its spec.
//!
//! ```text
//! static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
//!     PropertyTable::default()
//!         .field(port_spec(), |s| &s.port, |s| &mut s.port)
//!         .group(ReceiverLimits::properties(), |s| &s.limits, |s| &mut s.limits)
//!         .computed(stats::spec())
//! });
//! ```

use gst::prelude::*;

/// A type that settings use and GObject knows, perhaps under another type.
pub trait PropertyValue: Sized {
    /// Reads the value. GObject has checked its type and range.
    fn from_value(value: &glib::Value) -> Self;
    /// The value as GObject knows it.
    fn to_property(&self) -> glib::Value;
}

/// GObject checks types before it calls a setter.
const TYPE_IS_CHECKED: &str = "GObject checks the type";

/// For types that GObject knows as they are.
macro_rules! property_values {
    ($($type:ty),+ $(,)?) => {
        $(impl $crate::common::property_table::PropertyValue for $type {
            fn from_value(value: &glib::Value) -> Self {
                value.get().expect("GObject checks the type")
            }

            fn to_property(&self) -> glib::Value {
                glib::prelude::ToValue::to_value(self)
            }
        })+
    };
}
pub(crate) use property_values;

property_values!(bool, i32, u32);

/// NULL is the empty string.
impl PropertyValue for String {
    fn from_value(value: &glib::Value) -> Self {
        let text = value.get::<Option<_>>().expect(TYPE_IS_CHECKED);
        text.unwrap_or_default()
    }

    fn to_property(&self) -> glib::Value {
        self.to_value()
    }
}

/// A port: GStreamer's elements have it as a signed number.
impl PropertyValue for u16 {
    fn from_value(value: &glib::Value) -> Self {
        let number: i32 = value.get().expect(TYPE_IS_CHECKED);
        number.try_into().expect("the spec has the range of a port")
    }

    fn to_property(&self) -> glib::Value {
        i32::from(*self).to_value()
    }
}

/// A time, in nanoseconds.
impl PropertyValue for gst::ClockTime {
    fn from_value(value: &glib::Value) -> Self {
        Self::from_nseconds(value.get().expect(TYPE_IS_CHECKED))
    }

    fn to_property(&self) -> glib::Value {
        self.nseconds().to_value()
    }
}

type Get<S> = Box<dyn Fn(&S) -> glib::Value + Send + Sync>;
type Set<S> = Box<dyn Fn(&mut S, &glib::Value) + Send + Sync>;

/// How a value is read from the settings `S`, and written to them.
struct Accessors<S> {
    get: Get<S>,
    set: Set<S>,
}

/// The properties of an element whose settings are `S`, or a part of them.
pub struct PropertyTable<S> {
    specs: Vec<glib::ParamSpec>,
    /// One for each spec; none for a property that the element computes.
    accessors: Vec<Option<Accessors<S>>>,
}

impl<S> Default for PropertyTable<S> {
    fn default() -> Self {
        Self {
            specs: Vec::new(),
            accessors: Vec::new(),
        }
    }
}

impl<S: 'static> PropertyTable<S> {
    /// Adds a property whose value is a field of the settings.
    pub fn field<T: PropertyValue + 'static>(
        self,
        spec: glib::ParamSpec,
        field: fn(&S) -> &T,
        field_mut: fn(&mut S) -> &mut T,
    ) -> Self {
        self.accessors(
            spec,
            move |settings| field(settings).to_property(),
            move |settings, value| *field_mut(settings) = T::from_value(value),
        )
    }

    /// Adds a property that is more than one field, or something else than a field.
    pub fn accessors(
        mut self,
        spec: glib::ParamSpec,
        get: impl Fn(&S) -> glib::Value + Send + Sync + 'static,
        set: impl Fn(&mut S, &glib::Value) + Send + Sync + 'static,
    ) -> Self {
        self.specs.push(spec);
        self.accessors.push(Some(Accessors {
            get: Box::new(get),
            set: Box::new(set),
        }));
        self
    }

    /// Adds a read-only property that is no setting. The element gives its value.
    pub fn computed(mut self, spec: glib::ParamSpec) -> Self {
        self.specs.push(spec);
        self.accessors.push(None);
        self
    }

    /// Adds the properties of a part of the settings.
    pub fn group<G: 'static>(
        mut self,
        group: PropertyTable<G>,
        part: fn(&S) -> &G,
        part_mut: fn(&mut S) -> &mut G,
    ) -> Self {
        for (spec, accessors) in group.specs.into_iter().zip(group.accessors) {
            self = match accessors {
                Some(Accessors { get, set }) => self.accessors(
                    spec,
                    move |settings| get(part(settings)),
                    move |settings, value| set(part_mut(settings), value),
                ),
                None => self.computed(spec),
            };
        }
        self
    }

    /// The specs, in the order in which GObject numbers the properties.
    pub fn specs(&self) -> &[glib::ParamSpec] {
        &self.specs
    }

    /// Writes the property with the number `id` to the settings.
    pub fn set(&self, settings: &mut S, id: usize, value: &glib::Value) {
        if let Some(accessors) = self.at(id) {
            (accessors.set)(settings, value);
        }
    }

    /// Reads the property with the number `id`; nothing if it is a computed one.
    pub fn get(&self, settings: &S, id: usize) -> Option<glib::Value> {
        self.at(id).map(|accessors| (accessors.get)(settings))
    }

    /// GObject counts properties from one.
    fn at(&self, id: usize) -> Option<&Accessors<S>> {
        let index = id.checked_sub(1)?;
        self.accessors.get(index)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Limits {
        most: u32,
    }

    #[derive(Default)]
    struct Settings {
        name: String,
        port: u16,
        limits: Limits,
    }

    fn table() -> PropertyTable<Settings> {
        let limits = PropertyTable::default().field(
            glib::ParamSpecUInt::builder("most").build(),
            |limits: &Limits| &limits.most,
            |limits| &mut limits.most,
        );
        PropertyTable::default()
            .field(
                glib::ParamSpecString::builder("name").build(),
                |settings: &Settings| &settings.name,
                |settings| &mut settings.name,
            )
            .computed(glib::ParamSpecBoolean::builder("busy").read_only().build())
            .group(
                limits,
                |settings| &settings.limits,
                |settings| &mut settings.limits,
            )
            .field(
                glib::ParamSpecInt::builder("port").build(),
                |settings| &settings.port,
                |settings| &mut settings.port,
            )
    }

    #[test]
    fn property_is_found_by_its_number() {
        let table = table();
        let names: Vec<_> = table.specs().iter().map(|spec| spec.name()).collect();
        assert_eq!(names, ["name", "busy", "most", "port"]);
        let mut settings = Settings::default();
        table.set(&mut settings, 1, &"camera".to_value());
        table.set(&mut settings, 3, &7_u32.to_value());
        table.set(&mut settings, 4, &65_535_i32.to_value());
        assert_eq!(settings.name, "camera");
        assert_eq!((settings.limits.most, settings.port), (7, 65_535));
        let most = table.get(&settings, 3).expect("a setting");
        assert_eq!(most.get::<u32>().ok(), Some(7));
    }

    #[test]
    fn computed_property_is_left_to_the_element() {
        let (table, mut settings) = (table(), Settings::default());
        assert!(table.get(&settings, 2).is_none());
        table.set(&mut settings, 2, &true.to_value());
        for unknown in [0, 5] {
            assert!(table.get(&settings, unknown).is_none());
        }
    }

    #[test]
    fn null_string_is_empty() {
        let (table, mut settings) = (table(), Settings::default());
        settings.name = "camera".into();
        table.set(&mut settings, 1, &None::<String>.to_value());
        assert_eq!(settings.name, "");
    }
}
