// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-jfifconvert
//!
//! Gives raw pictures the colours that JPEG files mean: full range and the matrix of
//! BT.601.
//!
//! `jpegenc` takes the numbers of its input as they are. A video decoder's are of limited
//! range, and of BT.709 if the video is HD; every viewer of such a JPEG sees them
//! washed-out. Pictures that have the right colours already pass as they are.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=1280,height=720,colorimetry=bt709 ! jfifconvert ! videoscale ! video/x-raw,width=800,height=450 ! jpegenc quality=80 ! avimux ! filesink location=true.avi
//! ```
//!
//! It stands best before `videoscale`, which then has nothing to do but to scale. What is
//! not among its formats `videoconvert` in front of it makes so; the others that passes on.
//!
//! The output is `I420`, or `Y42B` or `Y444` where downstream takes nothing else, or where
//! the input is that and passes as it is. JPEG has chroma samples between two columns of
//! luma, most video on every second one: half a pixel that nobody corrects, OpenCV and
//! ffmpeg included. Nor does this, unless `shift-chroma` is set.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo, prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::{
    colour::{self, Colour, Range, Site},
    linear,
    planes::{self, Plane, Samples},
    rgb,
};
use crate::common::{
    framing, panics,
    stats::{self, Stats},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "jfifconvert",
        gst::DebugColorFlags::empty(),
        Some("Converter to the colours of JPEG files"),
    )
});

/// The formats that are taken.
const INPUT: [VideoFormat; 15] = [
    VideoFormat::I420,
    VideoFormat::Yv12,
    VideoFormat::Nv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Y444,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Gray8,
];

/// The formats that are made, the best first.
const OUTPUT: [VideoFormat; 3] = [VideoFormat::I420, VideoFormat::Y42b, VideoFormat::Y444];

/// What the output's caps say of colours.
const COLORIMETRY: &str = "1:4:0:0";
const CHROMA_SITE: &str = "jpeg";

/// A JPEG is not larger.
const MAX_SIZE: i32 = u16::MAX as i32;

static INPUT_CAPS: Lazy<gst::Caps> = Lazy::new(|| caps(&INPUT).build());

static OUTPUT_CAPS: Lazy<gst::Caps> = Lazy::new(|| {
    caps(&OUTPUT)
        .field("colorimetry", COLORIMETRY)
        .field("chroma-site", CHROMA_SITE)
        .build()
});

fn caps(formats: &[VideoFormat]) -> gst_video::VideoCapsBuilder<gst::caps::NoFeature> {
    gst_video::VideoCapsBuilder::new()
        .format_list(formats.iter().copied())
        .width_range(1..=MAX_SIZE)
        .height_range(1..=MAX_SIZE)
}

/// Neither OpenCV nor ffmpeg does, unless told to; what is shifted is farther from what they
/// show of the same video. In a JPEG of quality 80 it wins 0.1 or 0.2 dB, and loses as much
/// where caps are wrong, as they often only assume the site.
const DEFAULT_SHIFT_CHROMA: bool = false;

#[derive(Debug, Clone)]
struct Settings {
    colorimetry: String,
    shift_chroma: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            colorimetry: String::new(),
            shift_chroma: DEFAULT_SHIFT_CHROMA,
        }
    }
}

/// How the pictures of a stream are converted.
#[derive(Debug)]
struct Converter {
    any: linear::Converter,
    /// For progressive pictures in RGB.
    rgb: Option<rgb::Function>,
}

#[derive(Debug, Default)]
struct State {
    /// None while pictures pass as they are.
    converter: Option<Arc<Converter>>,
    /// Caps that are not taken were sent, and it was said.
    refused: bool,
    /// What the caps say of the input.
    input: Option<VideoInfo>,
    bytes_out: usize,
    stats: Stats,
}

#[derive(Default)]
pub struct JfifConvert {
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

impl JfifConvert {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What pictures of such caps are, unless they say what makes no sense.
    fn colours(
        &self,
        caps: &gst::CapsRef,
        info: &VideoInfo,
    ) -> Result<(Colour, Site), colour::Nonsense> {
        let text = |name: &str| caps.structure(0)?.get::<&str>(name).ok();
        let settings = self.settings().clone();
        let forced = Some(&*settings.colorimetry).filter(|text| !text.is_empty());
        let colour = Colour::new(forced.or(text("colorimetry")), info)?;
        let site = if settings.shift_chroma {
            Site::new(text("chroma-site"), colour, info)
        } else {
            Site::JFIF
        };
        Ok((colour, site))
    }

    /// Says what is wrong with caps before they are refused, which tells users little.
    /// Once: they may be sent again with each buffer.
    fn check(&self, caps: &gst::CapsRef) {
        let refused = !caps.can_intersect(&INPUT_CAPS);
        if refused && !mem::replace(&mut self.state().refused, refused) {
            let formats = INPUT.map(|format| format.to_str().as_str()).join(", ");
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("These pictures cannot be converted; put videoconvert before. \
                     {formats} can, up to {MAX_SIZE} x {MAX_SIZE} in system memory"),
                ["{caps}"]
            );
        }
    }

    /// Posts an error about a picture.
    fn too_short(&self) -> gst::FlowError {
        let input = self.state().input.clone();
        gst::element_imp_error!(
            self,
            gst::StreamError::Format,
            ("A picture is not laid out as its caps and its GstVideoMeta say: its memory is \
                 too short for its rows"),
            ["{input:?}"]
        );
        gst::FlowError::Error
    }
}

/// Of Y'CbCr.
fn subsampling(info: &VideoInfo) -> linear::Subsampling {
    let format = info.format_info();
    let of = |shifts: &[u32]| shifts.get(1).copied().unwrap_or_default();
    (of(format.w_sub()), of(format.h_sub()))
}

impl Converter {
    fn new(colour: Colour, site: Site, from: &VideoInfo, to: &VideoInfo) -> Self {
        let out = subsampling(to);
        let (matrix, site, input) = if from.is_rgb() {
            (colour.rgb_to_jfif(), Site::JFIF, (0, 0))
        } else if from.is_gray() {
            // It is given chroma as it is wanted.
            (colour.yuv_to_jfif(), Site::JFIF, out)
        } else {
            (colour.yuv_to_jfif(), site, subsampling(from))
        };
        let rgb = (colour.range == Range::Full)
            .then(|| rgb::function(from.format(), out))
            .flatten();
        let any = linear::Converter::new(&matrix, site, input, out);
        Self { any, rgb }
    }

    /// Does it, unless the memory of a frame is shorter than it ought to be.
    fn convert(
        &self,
        from: &VideoFrameRef<&gst::BufferRef>,
        to: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Option<()> {
        if !(0..3).all(|plane| planes::has_room(to, plane)) {
            return None;
        }
        let strides: [i32; 3] = to.plane_stride().try_into().ok()?;
        let sizes = [0, 1, 2].map(|plane| (to.comp_width(plane), to.comp_height(plane)));
        let [y, cb, cr, _] = to.planes_data_mut();
        let plane = |data, index: usize| {
            let (width, height) = sizes[index];
            Plane::new(data, strides[index], width, height)
        };
        let mut output = [plane(y, 0)?, plane(cb, 1)?, plane(cr, 2)?];

        // Each field has chroma rows of its own, if there are enough for both.
        let interlaced = from.is_interlaced() && from.height().is_multiple_of(4);
        if let Some(function) = self.rgb.filter(|_| !interlaced) {
            let stride = *from.plane_stride().first()?;
            let pixels = planes::plane_data(from, 0)?;
            let rows = from.height() as usize;
            // It needs the last row to be as long as the others.
            if stride.unsigned_abs() as usize * rows == pixels.len() {
                let stride = u32::try_from(stride).ok()?;
                return rgb::convert(function, pixels, stride, output).ok();
            }
        }

        let components = (0..from.n_components())
            .map(|index| Samples::of(from, index))
            .collect::<Option<Vec<_>>>()?;
        let neutral = vec![128; from.width() as usize];
        let repeated = |(width, height): (u32, u32)| {
            Samples::repeated(&neutral[..width as usize], height as usize)
        };
        let chroma = [repeated(sizes[1]); 2];
        let (luma, mixed) = match &components[..] {
            [grey] => (*grey, &chroma[..]),
            [y, chroma @ ..] if from.info().is_yuv() => (*y, chroma),
            rgb => (repeated(sizes[0]), rgb),
        };
        let fields = if interlaced { 2 } else { 1 };
        for field in 0..fields {
            let luma = luma.rows(field, fields);
            let mixed: Vec<_> = mixed.iter().map(|c| c.rows(field, fields)).collect();
            let output = output.each_mut().map(|plane| plane.rows(field, fields));
            self.any.convert(luma, &mixed, output);
        }
        Some(())
    }
}

#[glib::object_subclass]
impl ObjectSubclass for JfifConvert {
    const NAME: &'static str = "GstJfifConvert";
    type Type = super::JfifConvert;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for JfifConvert {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            vec![
                glib::ParamSpecString::builder("colorimetry")
                    .nick("Colorimetry")
                    .blurb(
                        "The colours of the input, as bt601, bt709 or 1:4:0:0, whatever its \
                         caps say; as they say if empty",
                    )
                    .default_value("")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("shift-chroma")
                    .nick("Shift chroma")
                    .blurb(
                        "Move chroma from where the caps say that it is to where JPEG has it, \
                         by half a pixel",
                    )
                    .default_value(DEFAULT_SHIFT_CHROMA)
                    .mutable_ready()
                    .build(),
                stats::spec(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            let mut settings = self.settings();
            match pspec.name() {
                "colorimetry" => {
                    let text = value.get::<Option<_>>().expect(OF_TYPE);
                    settings.colorimetry = text.unwrap_or_default();
                }
                "shift-chroma" => settings.shift_chroma = value.get().expect(OF_TYPE),
                name => unreachable!("no writable property {name}"),
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(
            self,
            "property",
            pspec.default_value().clone(),
            || match pspec.name() {
                "colorimetry" => self.settings().colorimetry.to_value(),
                "shift-chroma" => self.settings().shift_chroma.to_value(),
                "stats" => self.state().stats.structure().to_value(),
                name => unreachable!("no property {name}"),
            },
        )
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        let element = obj.downgrade();
        // A pad that refuses caps does so before its element sees them.
        obj.sink_pad()
            .add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view())
                    && let Some(element) = element.upgrade()
                {
                    let imp = element.imp();
                    panics::guard(imp, "check", (), || imp.check(event.caps()));
                }
                gst::PadProbeReturn::Ok
            });
    }
}

impl GstObjectImpl for JfifConvert {}

impl ElementImpl for JfifConvert {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "JFIF colour converter",
                "Filter/Converter/Video/Colorspace",
                "Gives raw pictures the colours that JPEG files mean: full range, BT.601",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![
                framing::always_template("sink", gst::PadDirection::Sink, &INPUT_CAPS),
                framing::always_template("src", gst::PadDirection::Src, &OUTPUT_CAPS),
            ]
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for JfifConvert {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        panics::catch(self, "start", || {
            let colorimetry = self.settings().colorimetry.clone();
            if !colorimetry.is_empty() {
                colour::parse(&colorimetry).map_err(|nonsense| {
                    gst::error_msg!(gst::LibraryError::Settings, ("colorimetry: {nonsense}"))
                })?;
            }
            *self.state() = State::default();
            Ok(())
        })?
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        panics::guard(self, "transform_caps", Some(gst::Caps::new_empty()), || {
            // All but the colours stays.
            let mut other = gst::Caps::new_empty();
            {
                let template = match direction {
                    gst::PadDirection::Src => &INPUT_CAPS,
                    _ => &OUTPUT_CAPS,
                };
                let other = other.get_mut().expect("nobody else has it yet");
                for (structure, features) in caps.iter_with_features() {
                    let mut structure = structure.to_owned();
                    structure.remove_fields(["format", "colorimetry", "chroma-site"]);
                    let mut structure = gst::Caps::from(structure);
                    structure
                        .make_mut()
                        .set_features_simple(Some(features.to_owned()));
                    other.append(template.intersect(&structure));
                }
            }
            if let Some(filter) = filter {
                other = filter.intersect_with_mode(&other, gst::CapsIntersectMode::First);
            }
            gst::trace!(CAT, imp = self, "{caps} from {direction:?} makes {other}");
            Some(other)
        })
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        panics::guard(self, "query", false, || {
            let answered = BaseTransformImplExt::parent_query(self, direction, query);
            if direction == gst::PadDirection::Sink
                && let gst::QueryViewMut::Caps(caps) = query.view_mut()
                && let Some(result) = caps.result_owned()
            {
                // It names the colours first that would pass as they are. videotestsrc would
                // promise them and make others, videoconvert would set out to convert.
                let any = self.transform_caps(
                    gst::PadDirection::Src,
                    &result,
                    caps.filter_owned().as_ref(),
                );
                caps.set_result(&any.unwrap_or(result));
            }
            answered
        })
    }

    fn fixate_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        mut other: gst::Caps,
    ) -> gst::Caps {
        panics::guard(self, "fixate_caps", gst::Caps::new_empty(), || {
            // What is right already need not change its subsampling either.
            if direction == gst::PadDirection::Sink
                && let Ok(info) = VideoInfo::from_caps(caps)
                && let Ok((colour, site)) = self.colours(caps, &info)
                && colour::is_jfif(colour, site, &info)
            {
                let same = gst_video::VideoCapsBuilder::new()
                    .format(info.format())
                    .build();
                let same = other.intersect(&same);
                if !same.is_empty() {
                    other = same;
                }
            }
            self.parent_fixate_caps(direction, caps, other)
        })
    }

    fn transform(
        &self,
        inbuf: &gst::Buffer,
        outbuf: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        panics::guard(self, "transform", Err(gst::FlowError::Error), || {
            // For a buffer that cannot be mapped GstVideoFilter pushes a picture that nobody has
            // written to, with whatever was in its memory.
            let input = self.state().input.clone();
            if input
                .is_some_and(|info| VideoFrameRef::from_buffer_ref_readable(inbuf, &info).is_err())
            {
                return Err(self.too_short());
            }
            self.parent_transform(inbuf, outbuf)
        })
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        panics::guard(self, "before_transform", (), || {
            let mut state = self.state();
            let bytes_out = match state.converter {
                Some(_) => state.bytes_out,
                None => inbuf.size(),
            };
            state.stats.frame(inbuf.size(), bytes_out);
        })
    }
}

impl VideoFilterImpl for JfifConvert {
    fn set_info(
        &self,
        incaps: &gst::Caps,
        in_info: &VideoInfo,
        _outcaps: &gst::Caps,
        out_info: &VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        panics::guard(
            self,
            "set_info",
            Err(gst::loggable_error!(CAT, "an internal error")),
            || {
                let (colour, site) = self.colours(incaps, in_info).map_err(|nonsense| {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ("{nonsense}"),
                        ["{incaps}"]
                    );
                    gst::loggable_error!(CAT, "{nonsense}")
                })?;
                let pass =
                    in_info.format() == out_info.format() && colour::is_jfif(colour, site, in_info);
                let converter = if pass {
                    None
                } else {
                    Some(Arc::new(Converter::new(colour, site, in_info, out_info)))
                };
                gst::debug!(CAT, imp = self, "{colour:?}, {site:?}: {converter:?}");
                {
                    let mut state = self.state();
                    state.refused = false;
                    state.converter = converter;
                    state.input = Some(in_info.clone());
                    state.bytes_out = out_info.size();
                }
                self.obj().set_passthrough(pass);
                Ok(())
            },
        )
    }

    fn transform_frame(
        &self,
        inframe: &VideoFrameRef<&gst::BufferRef>,
        outframe: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        panics::guard(self, "transform_frame", Err(gst::FlowError::Error), || {
            let converter = self.state().converter.clone();
            converter
                .and_then(|converter| converter.convert(inframe, outframe))
                .ok_or_else(|| self.too_short())?;
            Ok(gst::FlowSuccess::Ok)
        })
    }
}
