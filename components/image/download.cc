#include "components/image/download.h"

#include <cctype>

#include "components/image/download_loop.h"

namespace partita {

Result<std::unique_ptr<Downloader>> Downloader::Make(DownloadOptions options) {
  auto loop = std::make_unique<Loop>(std::move(options));
  ARROW_RETURN_NOT_OK(loop->Open());
  return std::unique_ptr<Downloader>(new Downloader(std::move(loop)));
}

Downloader::Downloader(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Downloader::~Downloader() = default;

void Downloader::Submit(DownloadRequest request, DownloadCallback callback) {
  loop_->Submit(std::move(request), std::move(callback));
}

std::vector<SlowDownload> Downloader::Slowest(int n) const { return loop_->Slowest(n); }

std::string DownloadErrorKey(std::string_view message) {
  std::string key;
  for (char c : message.substr(0, message.find(':'))) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!key.empty() && key.back() != '_') {
      key += '_';
    }
  }
  return key;
}

}  // namespace partita
