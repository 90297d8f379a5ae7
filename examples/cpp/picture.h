// Pictures in the simplest format there is: binary PPM (P6), 8 bits a channel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Picture {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb; // height x width x 3
};

// Throws std::runtime_error, with the file's name, where it is not a PPM picture.
Picture read_ppm(const std::string &path);
