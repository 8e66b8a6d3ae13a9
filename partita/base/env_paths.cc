// Whole small files and path arithmetic: what needs an Env but no system call of its own.
#include <arrow/io/interfaces.h>

#include <algorithm>
#include <utility>

#include "partita/base/env.h"
#include "partita/base/units.h"

namespace partita {

Result<std::string> ReadSmallFile(Env* env, const std::string& path, int64_t max_bytes) {
  ARROW_ASSIGN_OR_RAISE(auto file, env->OpenRead(path));
  ARROW_ASSIGN_OR_RAISE(const int64_t size, file->GetSize());
  std::string bytes;
  // Until the end and not to the size: files of /proc have none, and others may grow.
  constexpr int64_t kChunkBytes = 64 << 10;
  for (int64_t want = size + 1;; want = kChunkBytes) {
    want = std::min(want, max_bytes + 1 - static_cast<int64_t>(bytes.size()));
    const size_t before = bytes.size();
    if (size <= max_bytes) {
      bytes.resize(before + static_cast<size_t>(want));
      ARROW_ASSIGN_OR_RAISE(const int64_t got, file->Read(want, bytes.data() + before));
      bytes.resize(before + static_cast<size_t>(got));
      if (got == 0) break;
    }
    if (size > max_bytes || static_cast<int64_t>(bytes.size()) > max_bytes) {
      ErrorContext context;
      context.file = path;
      return WithContext(ResourceError("'" + path + "' has more than the " + FormatBytes(max_bytes) +
                                           " that may be read at once",
                                       "check that this is the right file"),
                         std::move(context));
    }
  }
  ARROW_RETURN_NOT_OK(file->Close());
  return bytes;
}

Result<std::string> WriteFileBeside(Env* env, const std::string& path, std::string_view bytes) {
  std::string temporary = path + ".tmp-" + env->RandomHex(8);
  const auto write = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(auto file, env->OpenWrite(temporary, WriteOptions{.window_bytes = 0}));
    ARROW_RETURN_NOT_OK(file->Write(bytes.data(), static_cast<int64_t>(bytes.size())));
    return file->Close();
  };
  if (Status status = write(); !status.ok()) {
    (void)env->RemoveFile(temporary);
    return status;
  }
  return temporary;
}

Status WriteFileAtomically(Env* env, const std::string& path, std::string_view bytes) {
  ARROW_ASSIGN_OR_RAISE(const std::string temporary, WriteFileBeside(env, path, bytes));
  Status renamed = env->Rename(temporary, path);
  if (!renamed.ok()) (void)env->RemoveFile(temporary);
  return renamed;
}

std::string JoinPath(std::string_view a, std::string_view b) {
  if (a.empty() || (!b.empty() && b.front() == '/')) return std::string(b);
  if (b.empty()) return std::string(a);
  std::string joined(a);
  if (joined.back() != '/') joined += '/';
  joined += b;
  return joined;
}

namespace {

std::string_view WithoutTrailingSlashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

}  // namespace

std::string_view BaseName(std::string_view path) {
  path = WithoutTrailingSlashes(path);
  if (path == "/") return path;
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view DirName(std::string_view path) {
  path = WithoutTrailingSlashes(path);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return WithoutTrailingSlashes(path.substr(0, slash + 1));
}

bool IsSafeRelativePath(std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos) return false;
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace partita
