/* Both headers in one file, as C and as C++, and every macro of theirs used. */
#include "other.h"
#include "toy.h"

#include "toy.h" /* twice is harmless */

static const int32_t image_shape[] = TOY_IMAGE_SHAPE, input_shape[] = OTHER_INPUT_SHAPE;
static const float mean[] = OTHER_INPUT_MEAN, deviation[] = TOY_IMAGE_STD;
static const char *const texts[] = {OTHER_INPUT_CHANNELS, OTHER_OUTPUT_KIND, TOY_SCORES_KIND, TOY_MODEL_HASH};

int main(void) {
  size_t bytes = TOY_WORKSPACE_BYTES + OTHER_SELFTEST_BYTES + TOY_WORKSPACE_ALIGN + TOY_IMAGE_ELEMS;
  bytes += sizeof image_shape + sizeof input_shape + sizeof mean + sizeof deviation + sizeof texts;
  bytes += OTHER_INPUT_ELEMS + OTHER_OUTPUT_ELEMS + TOY_BIAS_ELEMS;
  return bytes == 0 || toy_model() == 0 || toy_model() == other_model() || TOY_ABI != OTHER_ABI;
}
