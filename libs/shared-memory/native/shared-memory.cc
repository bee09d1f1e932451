// Maps memory of one process into another, over a range of a WebAssembly.Memory: JavaScript and
// WebAssembly read a peer's numbers where they lie, and nothing is copied.
//
//   share(range) -> fd    puts an anonymous file under the range; its pages are zero afterwards
//   map(range, pid, fd)   puts that file of another process under the range, to read only
//   unmap(range)          puts private zero pages under the range again
//   crc32(bytes, before)  as zlib's, faster; only where the processor can
//   wait(words, index, value, microseconds)  sleeps while the word is this value, so long at most
//   wake(words, index)    whoever waits for the word, in whatever process has mapped it
//
// A range is a Uint8Array of whole pages over a SharedArrayBuffer that never moves. The file has no
// name: it is gone with the last process that maps it, however that ends. It can neither shrink nor
// grow, so that reading it cannot fault.

#include <fcntl.h>
#include <linux/futex.h>
#include <node_api.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <string>

#include "crc32.h"

namespace {

struct Range {
  void* data;
  size_t bytes;
};

napi_value refuse(napi_env env, const std::string& what) {
  napi_throw_error(env, nullptr, what.c_str());
  return nullptr;
}

napi_value refuseErrno(napi_env env, const char* what) { return refuse(env, std::string(what) + ": " + strerror(errno)); }

bool readRange(napi_env env, napi_value value, Range* range) {
  bool isTyped = false;
  napi_typedarray_type type;
  if (napi_is_typedarray(env, value, &isTyped) != napi_ok || !isTyped) return false;
  if (napi_get_typedarray_info(env, value, &type, &range->bytes, &range->data, nullptr, nullptr) != napi_ok) return false;
  size_t page = sysconf(_SC_PAGESIZE);
  return type == napi_uint8_array && range->bytes > 0 && range->bytes % page == 0 && reinterpret_cast<uintptr_t>(range->data) % page == 0;
}

// Arguments of a call: a range, then numbers.
struct Call {
  Range range;
  int64_t numbers[2];
};

bool readCall(napi_env env, napi_callback_info info, size_t numbers, Call* call) {
  napi_value arguments[3];
  size_t count = 3;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count < 1 + numbers) return false;
  for (size_t i = 0; i < numbers; i++)
    if (napi_get_value_int64(env, arguments[1 + i], &call->numbers[i]) != napi_ok) return false;
  return readRange(env, arguments[0], &call->range);
}

napi_value share(napi_env env, napi_callback_info info) {
  Call call;
  if (!readCall(env, info, 0, &call)) return refuse(env, "share: a Uint8Array of whole pages is expected");
  int fd = memfd_create("coxswain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return refuseErrno(env, "memfd_create");
  bool isReady = ftruncate(fd, call.range.bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 &&
                 mmap(call.range.data, call.range.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
  if (!isReady) {
    napi_value nothing = refuseErrno(env, "share");
    close(fd);
    return nothing;
  }
  napi_value result;
  return napi_create_int32(env, fd, &result) == napi_ok ? result : nullptr;
}

napi_value map(napi_env env, napi_callback_info info) {
  Call call;
  if (!readCall(env, info, 2, &call)) return refuse(env, "map: a Uint8Array of whole pages, a pid and a descriptor are expected");
  std::string path = "/proc/" + std::to_string(call.numbers[0]) + "/fd/" + std::to_string(call.numbers[1]);
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return refuseErrno(env, path.c_str());
  struct stat status;
  int seals = fcntl(fd, F_GET_SEALS);
  bool isOurs = fstat(fd, &status) == 0 && static_cast<size_t>(status.st_size) == call.range.bytes && seals >= 0 && (seals & F_SEAL_SHRINK);
  bool isMapped = isOurs && mmap(call.range.data, call.range.bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
  int cause = errno;
  close(fd);
  if (!isOurs) return refuse(env, path + " is not memory of a peer of this size");
  if (!isMapped) {
    errno = cause;
    return refuseErrno(env, "map");
  }
  return nullptr;
}

napi_value unmap(napi_env env, napi_callback_info info) {
  Call call;
  if (!readCall(env, info, 0, &call)) return refuse(env, "unmap: a Uint8Array of whole pages is expected");
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  if (mmap(call.range.data, call.range.bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return refuseErrno(env, "unmap");
  return nullptr;
}

napi_value crc32Of(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2, bytes = 0;
  uint32_t before = 0;
  void* data = nullptr;
  napi_typedarray_type type;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count < 1) return refuse(env, "crc32: bytes are expected");
  if (napi_get_typedarray_info(env, arguments[0], &type, &bytes, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array)
    return refuse(env, "crc32: a Uint8Array is expected");
  if (count > 1) napi_get_value_uint32(env, arguments[1], &before);
  napi_value result;
  return napi_create_uint32(env, crc32::of(static_cast<const uint8_t*>(data), bytes, before), &result) == napi_ok ? result : nullptr;
}

// The word of an Int32Array that a call is about; null when there is none. Others' memory is mapped to
// read only: a futex needs no more, for waiting or for waking.
uint32_t* readWord(napi_env env, napi_value words, napi_value index) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  int64_t at = -1;
  if (napi_get_typedarray_info(env, words, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_int32_array) return nullptr;
  if (napi_get_value_int64(env, index, &at) != napi_ok || at < 0 || static_cast<size_t>(at) >= length) return nullptr;
  return static_cast<uint32_t*>(data) + at;
}

napi_value waitFor(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  size_t count = 4;
  int32_t value = 0;
  int64_t microseconds = 0;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count < 4) return refuse(env, "wait: four arguments are expected");
  uint32_t* word = readWord(env, arguments[0], arguments[1]);
  bool isFine = word != nullptr && napi_get_value_int32(env, arguments[2], &value) == napi_ok &&
                napi_get_value_int64(env, arguments[3], &microseconds) == napi_ok && microseconds >= 0;
  if (!isFine) return refuse(env, "wait: a word of an Int32Array, its value and a time are expected");
  struct timespec timeout = {static_cast<time_t>(microseconds / 1000000), static_cast<long>(microseconds % 1000000) * 1000};
  syscall(SYS_futex, word, FUTEX_WAIT, static_cast<uint32_t>(value), &timeout, nullptr, 0);
  return nullptr;
}

napi_value wake(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count < 2) return refuse(env, "wake: two arguments are expected");
  uint32_t* word = readWord(env, arguments[0], arguments[1]);
  if (word == nullptr) return refuse(env, "wake: a word of an Int32Array is expected");
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  return nullptr;
}

napi_value start(napi_env env, napi_value exports) {
  napi_property_descriptor functions[] = {
      {"share", nullptr, share, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"map", nullptr, map, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"unmap", nullptr, unmap, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"wait", nullptr, waitFor, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"wake", nullptr, wake, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"crc32", nullptr, crc32Of, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  size_t count = sizeof(functions) / sizeof(functions[0]) - (crc32::isFast() ? 0 : 1);
  return napi_define_properties(env, exports, count, functions) == napi_ok ? exports : nullptr;
}

}  // namespace

NAPI_MODULE(NODE_GYP_MODULE_NAME, start)
