// partita_image_server [--port N] [--folder DIR] [--robots FILE]: see image_server.h for what it serves. Runs
// until SIGINT or SIGTERM.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/servers/image_server.h"

int main(int argc, char** argv) {
  partita_testing::ImageServerOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help" || i + 1 >= argc) {
      std::fprintf(stderr, "usage: partita_image_server [--port N] [--folder DIR] [--robots FILE]\n");
      return flag == "--help" ? 0 : 2;
    }
    const std::string value = argv[++i];
    if (flag == "--port") {
      options.port = std::atoi(value.c_str());
    } else if (flag == "--folder") {
      options.folder = value;
    } else if (flag == "--robots") {
      std::ifstream file(value);
      options.robots_txt.assign(std::istreambuf_iterator<char>(file), {});
    } else {
      std::fprintf(stderr, "unknown flag %s\n", flag.c_str());
      return 2;
    }
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::string error;
  auto server = partita_testing::ImageServer::Start(options, &error);
  if (!server) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  std::printf("listening on %s\n", server->url().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  return 0;
}
