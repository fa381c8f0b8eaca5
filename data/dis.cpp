/* OpenCV has no C interface: this is the only C++ file.  No exception leaves it. */
extern "C" {
#include "data/dis.h"
}

#include <cstring>
#include <new>

#include <opencv2/video/tracking.hpp>

struct kc_dis {
	cv::Ptr<cv::DISOpticalFlow> dis;
	int finest, patch, stride;
};

extern "C" int kc_dis_open(enum kc_dis_preset preset, struct kc_dis **out)
{
	static const int presets[] = {cv::DISOpticalFlow::PRESET_ULTRAFAST,
				      cv::DISOpticalFlow::PRESET_FAST,
				      cv::DISOpticalFlow::PRESET_MEDIUM};

	*out = nullptr;
	try {
		cv::setNumThreads(1);
		struct kc_dis *d = new kc_dis;
		*out = d;
		d->dis = cv::DISOpticalFlow::create(presets[preset]);
		d->finest = d->dis->getFinestScale();
		d->patch = d->dis->getPatchSize();
		d->stride = d->dis->getPatchStride();
	} catch (const std::exception &e) {
		delete *out;
		*out = nullptr;
		return KC_FAIL(KC_EBACKEND, "cannot set up optical flow: %s", e.what());
	}
	return 0;
}

extern "C" void kc_dis_close(struct kc_dis *d)
{
	delete d;
}

extern "C" int kc_dis_run(struct kc_dis *d, const uint8_t *a, const uint8_t *b, int width,
			  int height, float *flow)
{
	if (width < KC_DIS_LEAST || height < KC_DIS_LEAST)
		return KC_FAIL(KC_ESHAPE,
			       "optical flow on %d x %d pixels, at least %d x %d expected", width,
			       height, KC_DIS_LEAST, KC_DIS_LEAST);
	try {
		const cv::Mat from(height, width, CV_8UC1, const_cast<uint8_t *>(a));
		const cv::Mat to(height, width, CV_8UC1, const_cast<uint8_t *>(b));
		cv::Mat result;     /* empty: a filled one would be taken as a first guess */

		/* On small pictures calc changes its own settings, and the next call would use
		 * them. */
		d->dis->setFinestScale(d->finest);
		d->dis->setPatchSize(d->patch);
		d->dis->setPatchStride(d->stride);
		d->dis->calc(from, to, result);
		if (result.rows != height || result.cols != width || result.type() != CV_32FC2)
			return KC_FAIL(KC_EBACKEND, "optical flow of an unexpected shape");
		for (int y = 0; y < height; y++)
			std::memcpy(flow + (size_t)y * (size_t)width * 2, result.ptr(y),
				    (size_t)width * 2 * sizeof *flow);
	} catch (const std::exception &e) {
		return KC_FAIL(KC_EBACKEND, "optical flow: %s", e.what());
	}
	return 0;
}
