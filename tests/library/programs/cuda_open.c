/* Opens a device; prints why it cannot. */
#include <stdio.h>

#include "toy.h"

int main(void) {
  char message[400] = "";
  void *device = toy_device_open(0, message, sizeof message);
  printf("%s %s\n", device == NULL ? "not opened:" : "opened", message);
  toy_device_close(device);
  return 0;
}
