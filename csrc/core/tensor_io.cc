#include "core/tensor_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "core/check.h"
#include "core/ops.h"
#include "cpu/copy.h"

namespace eyas {

namespace {

// One system call moves at most about 2 GiB on Linux.
constexpr int64_t kChunk = 1 << 30;

class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) {
      throw std::runtime_error("[readTensor] expected a readable file, received " + path + ": " +
                               std::strerror(errno));
    }
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

void ReadExactly(const File& file, const std::string& path, int64_t offset, void* out, int64_t bytes) {
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        pread(file.fd(), static_cast<char*>(out) + done, std::min(bytes - done, kChunk), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw std::runtime_error("[readTensor] " + path + " at byte " + std::to_string(offset + done) + ": " +
                               std::strerror(errno));
    }
    if (got == 0) {
      throw std::runtime_error("[readTensor] expected " + std::to_string(bytes) + " bytes at byte " +
                               std::to_string(offset) + " of " + path + ", received " + std::to_string(done));
    }
    done += got;
  }
}

void ExpectOffset(const char* op, int64_t offset) {
  if (offset < 0) Fail(op, "0 or more for byteOffset", std::to_string(offset));
}

}  // namespace

Tensor ReadTensor(const std::string& path, int64_t byte_offset, const Dims& shape,
                  const std::string& file_dtype, DType dtype, Device device) {
  ExpectOffset("readTensor", byte_offset);
  const bool half = file_dtype == "float16";
  const std::optional<DType> parsed = half ? DType::kBFloat16 : ParseDType(file_dtype);
  if (!parsed) {
    Fail("readTensor", "float16, float32, bfloat16, int64, int32 or bool for fileDtype",
         "'" + file_dtype + "'");
  }
  const File file(path);
  // The 16 bits of a float16 travel in a bfloat16 tensor until they are widened.
  Tensor raw(shape, *parsed);
  ReadExactly(file, path, byte_offset, raw.raw(), static_cast<int64_t>(raw.bytes()));
  if (half) {
    const Tensor wide(shape, DType::kFloat32);
    cpu::HalfToFloat(static_cast<const uint16_t*>(raw.raw()), wide.data<float>(), wide.size());
    raw = wide;
  }
  return ToDevice(raw.dtype() == dtype ? raw : Cast(raw, dtype), device);
}

int64_t WriteTensor(int fd, int64_t byte_offset, const Tensor& tensor) {
  ExpectOffset("writeTensor", byte_offset);
  const Tensor source = Contiguous(ToDevice(tensor, Device::kCpu));
  const int64_t bytes = static_cast<int64_t>(source.bytes());
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t put = pwrite(fd, static_cast<const char*>(source.raw()) + done,
                               std::min(bytes - done, kChunk), byte_offset + done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      throw std::runtime_error("[writeTensor] expected to write " + std::to_string(bytes) +
                               " bytes at byte " + std::to_string(byte_offset) + " of file descriptor " +
                               std::to_string(fd) + ", wrote " + std::to_string(done) + ": " +
                               std::strerror(errno));
    }
    done += put;
  }
  return bytes;
}

}  // namespace eyas
