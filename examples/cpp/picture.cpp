#include "picture.h"

#include <fstream>
#include <limits>
#include <stdexcept>

namespace {

// The next number of a PPM header, past white space and comments.
int read_number(std::istream &file) {
  while (file >> std::ws && file.peek() == '#') file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  int number = -1;
  file >> number;
  return file ? number : -1;
}

} // namespace

Picture read_ppm(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be opened");
  if (file.get() != 'P' || file.get() != '6') throw std::runtime_error(path + " is not a binary PPM (P6) picture");
  Picture picture;
  picture.width = read_number(file);
  picture.height = read_number(file);
  const int largest = read_number(file);
  file.get(); // the one white space before the pixels
  if (picture.width < 1 || picture.height < 1 || picture.width > 65535 || picture.height > 65535 || largest != 255)
    throw std::runtime_error(path + " has a header that this reader does not know");
  picture.rgb.resize(std::size_t{3} * picture.width * picture.height);
  file.read(reinterpret_cast<char *>(picture.rgb.data()), static_cast<std::streamsize>(picture.rgb.size()));
  if (!file) throw std::runtime_error(path + " ends before its last pixel");
  return picture;
}
