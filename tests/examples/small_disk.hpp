#pragma once
/// \file
/// A file system of a few kilobytes, to be filled. It is mounted where only this process and its children see it.

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

namespace linden::test {

/// A tmpfs, unmounted at the end.
class SmallDisk {
 public:
  SmallDisk(std::filesystem::path path, std::size_t bytes) : path_(std::move(path)) {
    static const bool own_mounts =
        ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    std::filesystem::create_directories(path_);
    BOOST_REQUIRE_MESSAGE(own_mounts && mount(0, bytes), "cannot mount: " << std::strerror(errno));
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() { ::umount2(path_.c_str(), MNT_DETACH); }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  void grow(std::size_t bytes) const { BOOST_REQUIRE(mount(MS_REMOUNT, bytes)); }
  void make_read_only() const { BOOST_REQUIRE(::mount(nullptr, path_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0); }

 private:
  [[nodiscard]] bool mount(unsigned long flags, std::size_t bytes) const {
    return ::mount("tmpfs", path_.c_str(), "tmpfs", flags, ("size=" + std::to_string(bytes)).c_str()) == 0;
  }

  std::filesystem::path path_;
};

/// Enables a test case where a process may mount: as root, unless a container forbids it.
inline boost::test_tools::assertion_result can_mount(boost::unit_test::test_unit_id) {
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                    ::mount("tmpfs", "/mnt", "tmpfs", 0, "size=4096") == 0
                ? 0
                : 1);
  int status = 1;
  ::waitpid(child, &status, 0);
  boost::test_tools::assertion_result here = status == 0;
  here.message() << "SKIPPED: no file system may be mounted here (it takes root, and a container that allows it)";
  return here;
}

}  // namespace linden::test
