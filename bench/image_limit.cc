// What this machine can do at most: download from the server, decode at a JPEG scale, resize, encode; nothing
// else. No engine, no budget, no robots.txt, no error handling beyond giving up.
//
//   partita_bench_image_limit http://127.0.0.1:PORT|FOLDER COUNT OUT.tar naive|resize_images|download
//   [THREADS]
//
// naive: libjpeg-turbo and a plain area average; resize_images: Partita's ResizeImage, so that codec and
// network can be told apart; download: bytes are thrown away. A FOLDER instead of a URL reads files: the
// codec without the network.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <jpeglib.h>

#include <arrow/buffer.h>

#include "components/image/resize_images.h"
#include "partita/memory/budget.h"

namespace {

constexpr int kSide = 256;
constexpr int kQuality = 95;

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

// A kept-alive HTTP/1.1 connection to one server.
class Connection {
 public:
  explicit Connection(int port) : port_(port) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("cannot connect");
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Get(const std::string& path, std::vector<uint8_t>* body) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port_) + "\r\n\r\n";
    if (send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
      Die("cannot send");
    std::string head(4096, '\0');
    size_t filled = 0, end = std::string::npos;
    while (end == std::string::npos) {
      if (filled == head.size()) Die("header too long");
      filled += Receive(reinterpret_cast<uint8_t*>(head.data()) + filled, head.size() - filled);
      end = std::string_view(head.data(), filled).find("\r\n\r\n");
    }
    if (head.compare(9, 3, "200") != 0) Die("HTTP " + head.substr(9, 3));
    const auto at = std::string_view(head.data(), end).find("Content-Length: ");
    if (at == std::string::npos) Die("no Content-Length");
    body->resize(std::strtoull(head.c_str() + at + 16, nullptr, 10));
    size_t have = filled - (end + 4);
    std::memcpy(body->data(), head.data() + end + 4, have);
    while (have < body->size()) have += Receive(body->data() + have, body->size() - have);
  }

 private:
  size_t Receive(uint8_t* to, size_t size) {
    const ssize_t got = recv(fd_, to, size, 0);
    if (got <= 0) Die("connection lost");
    return static_cast<size_t>(got);
  }

  int port_;
  int fd_;
};

// Weights of an area average from `source` pixels to kSide output pixels, for a window [begin, begin +
// length) of the source.
struct Taps {
  std::vector<int> first;
  std::vector<std::vector<float>> weights;

  Taps(double begin, double length) : first(kSide), weights(kSide) {
    const double step = length / kSide;
    for (int i = 0; i < kSide; ++i) {
      const double lo = begin + i * step, hi = lo + step;
      first[i] = static_cast<int>(lo);
      for (int p = first[i]; p < hi - 1e-9; ++p) {
        weights[i].push_back(
            static_cast<float>((std::min<double>(hi, p + 1) - std::max<double>(lo, p)) / step));
      }
    }
  }
};

// The shortest side becomes kSide; the centre is kept.
void Resize(const uint8_t* pixels, int stride, double left, double top, double side_x, double side_y,
            uint8_t* out) {
  const Taps x(left, side_x), y(top, side_y);
  const int begin = x.first.front(), end = x.first.back() + static_cast<int>(x.weights.back().size());
  const int n = (end - begin) * 3;
  std::vector<float> sums(static_cast<size_t>(n));
  for (int row = 0; row < kSide; ++row) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (size_t t = 0; t < y.weights[row].size(); ++t) {
      const uint8_t* source =
          pixels + static_cast<int64_t>(y.first[row] + static_cast<int>(t)) * stride + begin * 3;
      const float weight = y.weights[row][t];
      float* sum = sums.data();
      for (int i = 0; i < n; ++i) sum[i] += weight * static_cast<float>(source[i]);
    }
    for (int column = 0; column < kSide; ++column) {
      float r = 0.5f, g = 0.5f, b = 0.5f;
      const float* source = sums.data() + (x.first[column] - begin) * 3;
      for (const float weight : x.weights[column]) {
        r += weight * source[0];
        g += weight * source[1];
        b += weight * source[2];
        source += 3;
      }
      *out++ = static_cast<uint8_t>(r);
      *out++ = static_cast<uint8_t>(g);
      *out++ = static_cast<uint8_t>(b);
    }
  }
}

// Decodes at 1/8, 1/4, 1/2 or 1, the smallest that is not below the output; only the columns and rows that
// the centre needs.
void Convert(const std::vector<uint8_t>& in, std::vector<uint8_t>* scratch, std::string* out) {
  jpeg_decompress_struct decoder;
  jpeg_error_mgr errors;
  decoder.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&decoder);
  jpeg_mem_src(&decoder, in.data(), in.size());
  jpeg_read_header(&decoder, TRUE);
  decoder.out_color_space = JCS_RGB;
  const int width = static_cast<int>(decoder.image_width), height = static_cast<int>(decoder.image_height);
  const int side = std::min(width, height);
  unsigned n = 1;
  while (n < 8 && static_cast<unsigned>(side) * n < kSide * 8u) n *= 2;
  decoder.scale_num = n;
  decoder.scale_denom = 8;
  jpeg_start_decompress(&decoder);
  // The geometry is img2dataset's: the resized picture has whole pixels, and so has the cut.
  const double resized_width = std::round(static_cast<double>(width) * kSide / side),
               resized_height = std::round(static_cast<double>(height) * kSide / side);
  const double side_x = kSide * decoder.output_width / resized_width,
               side_y = kSide * decoder.output_height / resized_height;
  double left = std::floor((resized_width - kSide) / 2) / kSide * side_x;
  const double top = std::floor((resized_height - kSide) / 2) / kSide * side_y;
  JDIMENSION first = static_cast<JDIMENSION>(left), columns = static_cast<JDIMENSION>(std::ceil(side_x)) + 1;
  columns = std::min(columns, decoder.output_width - first);
  if (columns < decoder.output_width)
    jpeg_crop_scanline(&decoder, &first, &columns);
  else
    first = 0;
  left -= first;
  const int stride = static_cast<int>(decoder.output_width) * 3;
  const auto skip = static_cast<JDIMENSION>(top);
  const auto last =
      std::min<JDIMENSION>(decoder.output_height, static_cast<JDIMENSION>(std::ceil(top + side_y)));
  if (skip > 0) jpeg_skip_scanlines(&decoder, skip);
  scratch->resize(static_cast<size_t>(stride) * decoder.output_height);
  while (decoder.output_scanline < last) {
    JSAMPROW rows[4];
    for (int i = 0; i < 4; ++i) {
      rows[i] = scratch->data() + std::min<size_t>(decoder.output_scanline + static_cast<size_t>(i),
                                                   decoder.output_height - 1) *
                                      stride;
    }
    jpeg_read_scanlines(&decoder, rows, std::min<JDIMENSION>(4, last - decoder.output_scanline));
  }
  jpeg_abort_decompress(&decoder);
  jpeg_destroy_decompress(&decoder);

  std::vector<uint8_t> small(kSide * kSide * 3);
  Resize(scratch->data(), stride, left, top, side_x, side_y, small.data());

  jpeg_compress_struct encoder;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = encoder.image_height = kSide;
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, kQuality, TRUE);
  jpeg_start_compress(&encoder, TRUE);
  while (encoder.next_scanline < kSide) {
    JSAMPROW row = small.data() + static_cast<size_t>(encoder.next_scanline) * kSide * 3;
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  out->assign(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
}

void AppendTar(std::FILE* file, const std::string& name, const std::string& data) {
  char head[512] = {};
  std::snprintf(head, 100, "%s", name.c_str());
  std::memcpy(head + 100, "0000644\0000000000\0000000000\0", 24);
  std::snprintf(head + 124, 12, "%011zo", data.size());
  std::memcpy(head + 136, "00000000000\0        0", 21);
  std::memcpy(head + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const char c : head) sum += static_cast<unsigned char>(c);
  std::snprintf(head + 148, 8, "%06o", sum);
  static const char kZeros[512] = {};
  std::fwrite(head, 1, sizeof head, file);
  std::fwrite(data.data(), 1, data.size(), file);
  std::fwrite(kZeros, 1, (512 - data.size() % 512) % 512, file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5)
    Die("usage: partita_bench_image_limit URL|FOLDER COUNT OUT.tar naive|resize_images|download [THREADS]");
  const std::string source = argv[1], what = argv[4];
  const int count = std::atoi(argv[2]);
  const int threads =
      argc > 5 ? std::atoi(argv[5]) : 2 * static_cast<int>(std::thread::hardware_concurrency());
  const bool from_http = source.starts_with("http://");
  const int port = from_http ? std::atoi(source.c_str() + source.rfind(':') + 1) : 0;
  std::FILE* out = std::fopen(argv[3], "wb");
  if (out == nullptr) Die("cannot write the output");
  partita::ResizeOptions options;
  options.mode = partita::ResizeMode::kCenterCrop;
  auto budget = partita::Budget::Make(int64_t{2} << 30);
  std::atomic<int> next{0};
  std::mutex mutex;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      std::unique_ptr<Connection> connection = from_http ? std::make_unique<Connection>(port) : nullptr;
      auto pool = budget->root()->NewChild("worker");
      std::vector<uint8_t> in, scratch;
      std::string made;
      for (int i = next++; i < count; i = next++) {
        char name[32];
        std::snprintf(name, sizeof name, "%06d.jpg", i);
        if (from_http) {
          connection->Get(std::string("/") + name, &in);
        } else {
          std::ifstream file(source + "/" + name, std::ios::binary);
          in.assign(std::istreambuf_iterator<char>(file), {});
        }
        if (what == "download") continue;
        if (what == "naive") {
          Convert(in, &scratch, &made);
        } else {
          auto resized =
              partita::ResizeImage(in.data(), static_cast<int64_t>(in.size()), options, pool.get());
          if (!resized.ok()) Die(resized.status().ToString());
          made = resized->bytes->ToString();
        }
        const std::lock_guard lock(mutex);
        AppendTar(out, name, made);
      }
    });
  }
  for (auto& worker : workers) worker.join();
  static const char kEnd[1024] = {};
  std::fwrite(kEnd, 1, sizeof kEnd, out);
  std::fclose(out);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("{\"seconds\": %.4f, \"rows\": %d}\n", seconds, count);
  return 0;
}
