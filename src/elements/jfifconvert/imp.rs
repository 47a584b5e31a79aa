// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-jfifconvert
//!
//! Converts raw video to the colours that JPEG files use (JFIF): full range and the matrix of
//! BT.601.
//!
//! `jpegenc` stores the samples of its input unchanged. Those of a video decoder have limited
//! range, and the matrix of BT.709 if the video is HD, so every viewer shows such a JPEG washed
//! out. Frames that have the right colours already pass unchanged.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=1280,height=720,colorimetry=bt709 ! jfifconvert ! videoscale ! video/x-raw,width=800,height=450 ! jpegenc quality=80 ! avimux ! filesink location=true.avi
//! ```
//!
//! Put it before `videoscale`, which then only scales. For other input formats, put
//! `videoconvert` before it, which passes the supported formats unchanged.
//!
//! The output is `I420`; or `Y42B` or `Y444` if downstream accepts only that, or if the input has
//! that format and passes unchanged. JPEG has chroma samples between two columns of luma, most
//! video on every second column. OpenCV and ffmpeg do not correct this half pixel, and neither
//! does this element unless `shift-chroma` is set.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use b64jpeg_net::sync::lock;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::{
    colour::{self, ChromaSite, Colour, InvalidColorimetry},
    converter::FrameConverter,
    settings::{PROPERTIES, Settings},
};
use crate::common::{framing_properties, panics, stats::Stats};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "jfifconvert",
        gst::DebugColorFlags::empty(),
        Some("JFIF colour converter"),
    )
});

/// The input formats.
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

/// The output formats, the preferred one first.
const OUTPUT: [VideoFormat; 3] = [VideoFormat::I420, VideoFormat::Y42b, VideoFormat::Y444];

/// The colours in the output caps: full range, BT.601 matrix, transfer and primaries unspecified.
const COLORIMETRY: &str = "1:4:0:0";
const CHROMA_SITE: &str = "jpeg";

/// The maximum width and height of a JPEG.
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

#[derive(Debug, Default)]
struct State {
    /// `None` while frames pass unchanged.
    converter: Option<Arc<FrameConverter>>,
    /// Whether the last caps event had caps that are not supported, which was reported.
    caps_refused: bool,
    /// The input format.
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
        lock(&self.settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The colours and the chroma site of frames with these caps.
    ///
    /// # Errors
    ///
    /// If the colorimetry in the property or in the caps is invalid.
    fn colours(
        &self,
        caps: &gst::CapsRef,
        info: &VideoInfo,
    ) -> Result<(Colour, ChromaSite), InvalidColorimetry> {
        let text = |name: &str| caps.structure(0)?.get::<&str>(name).ok();
        let settings = self.settings().clone();
        let forced = Some(&*settings.colorimetry).filter(|text| !text.is_empty());
        let colour = Colour::new(forced.or(text("colorimetry")), info)?;
        let site = if settings.shift_chroma {
            ChromaSite::new(text("chroma-site"), colour, info)
        } else {
            ChromaSite::JFIF
        };
        Ok((colour, site))
    }

    /// Posts an error about unsupported caps before the pad refuses them, because
    /// `not-negotiated` tells users little. Once: the event may be sent again with each buffer.
    fn check(&self, caps: &gst::CapsRef) {
        let refused = !caps.can_intersect(&INPUT_CAPS);
        let reported = mem::replace(&mut self.state().caps_refused, refused);
        if refused && !reported {
            let formats = INPUT.map(|format| format.to_str().as_str()).join(", ");
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("Cannot convert this format; put videoconvert before jfifconvert. It converts \
                     {formats}, up to {MAX_SIZE} x {MAX_SIZE} in system memory"),
                ["{caps}"]
            );
        }
    }

    /// Posts an error about a frame whose memory is too short.
    fn too_short(&self) -> gst::FlowError {
        let input = self.state().input.clone();
        gst::element_imp_error!(
            self,
            gst::StreamError::Format,
            ("The layout of a frame does not match its caps and its GstVideoMeta: its memory is \
                 too short for its rows"),
            ["{input:?}"]
        );
        gst::FlowError::Error
    }
}

#[glib::object_subclass]
impl ObjectSubclass for JfifConvert {
    const NAME: &'static str = "GstB64JpegJfifConvert";
    type Type = super::JfifConvert;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for JfifConvert {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn set_property(&self, id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            PROPERTIES.set(&mut self.settings(), id, value);
        })
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            let setting = PROPERTIES.get(&self.settings(), id);
            setting.unwrap_or_else(|| self.state().stats.structure().to_value())
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        let element = obj.downgrade();
        // A pad refuses caps before the element gets the event.
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
                "Converts raw video to the colours that JPEG files use: full range, BT.601",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![
                framing_properties::always_template("sink", gst::PadDirection::Sink, &INPUT_CAPS),
                framing_properties::always_template("src", gst::PadDirection::Src, &OUTPUT_CAPS),
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
                colour::parse(&colorimetry).map_err(|error| {
                    gst::error_msg!(gst::LibraryError::Settings, ("colorimetry: {error}"))
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
            // Everything but format and colours stays.
            let mut other = gst::Caps::new_empty();
            {
                let template = match direction {
                    gst::PadDirection::Src => &INPUT_CAPS,
                    _ => &OUTPUT_CAPS,
                };
                let other = other.get_mut().expect("new caps have one owner");
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
            gst::trace!(
                CAT,
                imp = self,
                "{caps} on the {direction:?} pad: {other} on the other"
            );
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
                // The result prefers the colours that pass unchanged. With it, videotestsrc would
                // claim these colours but produce others, and videoconvert would convert.
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
            // Frames that have the right colours keep their subsampling, too.
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
            // If a buffer cannot be mapped, GstVideoFilter pushes an output buffer that was not
            // written, with old contents of its memory.
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
                let (colour, site) = self.colours(incaps, in_info).map_err(|error| {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ("{error}"),
                        ["{incaps}"]
                    );
                    gst::loggable_error!(CAT, "{error}")
                })?;
                let pass =
                    in_info.format() == out_info.format() && colour::is_jfif(colour, site, in_info);
                let converter = if pass {
                    None
                } else {
                    Some(Arc::new(FrameConverter::new(
                        colour, site, in_info, out_info,
                    )))
                };
                gst::debug!(CAT, imp = self, "{colour:?}, {site:?}: {converter:?}");
                {
                    let mut state = self.state();
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
